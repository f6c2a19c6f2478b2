"""The choice of frames: fact 27 of the golden notes for constant rates, time for variable ones."""

import numpy as np
import pytest

from cavmae.media.frame_times import choose_frames, is_constant_rate, measured_rate


@pytest.mark.parametrize("fps", [7.288, 12.5, 23.976, 25.0, 29.97, 30.0, 59.94, 60.0])
@pytest.mark.parametrize("seconds", [1.0, 4.0, 10.0, 14.7])
@pytest.mark.parametrize("unit", [None, 1000])
def test_constant_rate_follows_the_published_index_rule(fps: float, seconds: float, unit: int | None) -> None:
    times = np.arange(int(fps * min(seconds, 10.0) + 1)) / fps
    times = times[times < 10.0]
    total = min(len(times), int(fps * 10))
    if unit:  # containers such as Matroska round to milliseconds
        times = np.round(times * unit) / unit
    assert choose_frames(times, 10.0, fps, 10, "exact") == [int(i * total / 10) for i in range(10)]


def test_official_reads_one_frame_early_and_never_before_the_first() -> None:
    times = np.arange(299) * 1001 / 30000
    assert choose_frames(times, 10.0, 30000 / 1001, 10, "official") == [0, 28, 58, 88, 118, 148, 178, 208, 238, 268]


def test_variable_rate_chooses_by_time_and_not_by_index() -> None:
    times = np.concatenate([np.arange(100) * 0.01, [1.0, 5.0, 9.0]])
    chosen = choose_frames(times, 10.0, 30.0, 10, "exact")
    assert not is_constant_rate(times)
    steps = np.arange(10) * (times[-1] + 1 / measured_rate(times, 30.0)) / 10
    assert [times[index] for index in chosen] == [times[times <= step + 1e-6][-1] for step in steps]


def test_time_and_index_agree_on_a_constant_rate() -> None:
    even = np.arange(250) / 25
    late = even.copy()
    late[249] += 0.03  # one frame out of place makes the rate variable
    assert not is_constant_rate(late)
    by_time = choose_frames(late, 10.0, 25.0, 10, "exact")
    assert by_time == choose_frames(even, 10.0, 25.0, 10, "exact")


def test_fewer_frames_than_pictures_repeat() -> None:
    assert choose_frames(np.array([0.0]), 10.0, 25.0, 4, "exact") == [0, 0, 0, 0]
    assert choose_frames(np.arange(3) / 25, 10.0, 25.0, 6, "exact") == [0, 0, 1, 1, 2, 2]


def test_a_header_rate_that_the_frames_contradict_is_not_believed() -> None:
    times = np.arange(30) / 29.97
    assert measured_rate(times, 1000.0) == pytest.approx(29.97)
    assert measured_rate(times, 30000 / 1001) == 30000 / 1001
