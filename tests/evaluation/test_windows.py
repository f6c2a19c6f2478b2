"""Windows over a file: where they lie, and what is done about those that cannot be read."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from cavmae.evaluation import windows
from cavmae.evaluation.windows import as_batch, file_windows, window_starts
from cavmae.media.clip import Clip, ClipSettings, MediaFacts, MediaRejected
from cavmae.models.folder import ModelConfig, read_config
from tests.training.tiny import tiny


@pytest.mark.parametrize(
    ("duration", "window", "hop", "starts"),
    [
        (0.4, 1.0, 1.0, [0.0]),
        (1.0, 1.0, 1.0, [0.0]),
        (3.0, 1.0, 1.0, [0.0, 1.0, 2.0]),
        (3.4, 1.0, 1.0, [0.0, 1.0, 2.0]),
        (3.5, 1.0, 1.0, [0.0, 1.0, 2.0, 3.0]),
        (2.0, 1.0, 0.5, [0.0, 0.5, 1.0]),
        (20.0, 2.0, 30.0, [0.0]),  # the next window would begin behind the end
        (31.5, 2.0, 30.0, [0.0, 30.0]),
    ],
)
def test_windows_cover_the_file_and_begin_within_it(duration: float, window: float, hop: float, starts: list[float]) -> None:
    assert list(window_starts(duration, window, hop)) == pytest.approx(starts)


def test_windows_of_a_file_of_unknown_duration_go_on() -> None:
    assert list(itertools.islice(window_starts(None, 2.0, 1.5), 4)) == [0.0, 1.5, 3.0, 4.5]


def clip(seconds: float, size: int = 32) -> Clip:
    facts = MediaFacts(seconds, 8.0, 8, size, size, 0, "h264", "aac", 16000, 1, seconds, -20.0, 0.0, 5.0, ())
    noise = np.random.default_rng(0).integers(-3000, 3000, int(16000 * seconds)).astype(np.int16)
    return Clip(np.random.default_rng(1).integers(0, 256, (4, size, size, 3)).astype(np.uint8), noise, facts)


def config_of_1_s() -> ModelConfig:
    config = read_config(tiny().classifier())
    return config.model_copy(update={"clip": config.clip.model_copy(update={"window_s": 1.0})})


@pytest.mark.parametrize(("length", "ends"), [(0.8, [0.8]), (3.3, [1.0, 2.0, 3.0]), (3.6, [1.0, 2.0, 3.0, 3.6])])
def test_a_file_without_a_stated_duration_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, length: float, ends: list[float]
) -> None:
    def read(path: Path, start: float, end: float, settings: ClipSettings, alone: object) -> Clip:
        if start >= length:
            raise MediaRejected("too_short", "Nothing there.")
        return clip(min(end, length) - start)

    monkeypatch.setattr(windows, "media_duration", lambda path: None)
    monkeypatch.setattr(windows, "read_clip", read)
    found = list(file_windows(config_of_1_s(), Path("x.mkv"), None))
    assert [start + item.facts.duration_s for start, item in found if isinstance(item, Clip)] == pytest.approx(ends)
    assert len(found) == len(ends)


@pytest.mark.parametrize(
    ("reason", "broken", "good", "bad"),
    [
        ("undecodable", {0.0}, [], [0.0]),
        ("no_decodable_video", {0.0, 1.0}, [2.0, 3.0, 4.0], [0.0, 1.0]),
        ("undecodable", {2.0}, [0.0, 1.0, 3.0, 4.0], [2.0]),
        ("no_audio", {1.0, 2.0, 4.0}, [0.0, 3.0], [1.0, 2.0, 4.0]),
    ],
)
def test_bad_windows_cost_themselves_and_only_what_is_wrong_with_the_file_costs_the_rest(
    monkeypatch: pytest.MonkeyPatch, reason: str, broken: set[float], good: list[float], bad: list[float]
) -> None:
    def read(path: Path, start: float, end: float, settings: ClipSettings, alone: object) -> Clip:
        if start in broken:
            raise MediaRejected(reason, "Noise.")
        return clip(end - start)

    monkeypatch.setattr(windows, "media_duration", lambda path: 5.0)
    monkeypatch.setattr(windows, "read_clip", read)
    found = list(file_windows(config_of_1_s(), Path("x.mp4"), None))
    assert [start for start, item in found if isinstance(item, Clip)] == good
    assert [start for start, item in found if isinstance(item, MediaRejected)] == bad


def test_frames_of_another_size_are_brought_to_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, images = as_batch(config_of_1_s(), clip(1.0, size=48))
    assert images.shape == (1, 4, 32, 32, 3) and raw.frames.shape == (1, 32, 32, 3)
    assert (raw.frames[0] == images[0, 2]).all()
