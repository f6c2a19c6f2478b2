"""What is drawn and played carries the facts of its scene."""

from dataclasses import replace

import numpy as np
import pytest

from cavmae.dataset.sample.picture import draw
from cavmae.dataset.sample.scene import PICTURES, SOUNDS, Facts, Scene, compose
from cavmae.dataset.sample.sound import play

RATE = 16000
MIDDLE = Facts(pitch=0.5, level=0.5)


def scene_with(sound: str = "hum", picture: str = "bars", **facts: float) -> Scene:
    chosen = replace(MIDDLE, **facts)
    return replace(compose(f"{sound}_{picture}", 0, 0, True), heard=chosen, seen=chosen)


def decibels(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean((wave / 32768.0) ** 2)))


@pytest.mark.parametrize("sound", SOUNDS)
def test_level_is_the_loudness_and_nothing_clips(sound: str) -> None:
    soft, loud = (play(scene_with(sound, level=level), 2 * RATE, RATE) for level in (0.0, 1.0))
    assert decibels(loud) - decibels(soft) == pytest.approx(18, abs=1)
    assert np.abs(loud.astype(int)).max() < 32767


@pytest.mark.parametrize("sound", SOUNDS)
def test_pitch_moves_the_sound_up(sound: str) -> None:
    def centre_hz(pitch: float) -> float:
        wave = play(scene_with(sound, pitch=pitch), 2 * RATE, RATE)
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())

    assert centre_hz(0.0) < 0.7 * centre_hz(0.5) < 0.5 * centre_hz(1.0)


def test_level_is_the_size_of_the_ball() -> None:
    def ball(level: float) -> int:
        frame = draw(scene_with(level=level), 64, 1, 2.0)[0].astype(int)
        return int(((frame.max(-1) - frame.min(-1)) > 24).sum())  # coloured pixels

    assert ball(1.0) > 2 * ball(0.0)


@pytest.mark.parametrize(("picture", "step"), [("bars", (0, 1)), ("posts", (1, 0)), ("rise", (1, -1)), ("fall", (1, 1))])
def test_kind_is_the_direction_of_the_stripes(picture: str, step: tuple[int, int]) -> None:
    """Along the stripes the picture changes less than along any other kind's stripes."""
    frame = draw(compose(f"hum_{picture}", 0, 3, True), 64, 1, 2.0)[0].astype(float).mean(-1)
    middle = frame[16:48, 16:48]
    changes = {}
    for down, right in ((0, 1), (1, 0), (1, -1), (1, 1)):
        moved = frame[16 + 3 * down : 48 + 3 * down, 16 + 3 * right : 48 + 3 * right]
        changes[down, right] = np.abs(moved - middle).mean() / np.hypot(down, right)
    assert min(changes, key=changes.__getitem__) == step


def test_kinds_are_no_matter_of_brightness() -> None:
    """The mean colour must not tell the picture's kind: the pattern has to be seen."""
    means = {
        picture: np.mean([draw(compose(f"hum_{picture}", 0, index, True), 32, 1, 2.0).mean() for index in range(60)])
        for picture in PICTURES
    }
    assert max(means.values()) - min(means.values()) < 10


def test_the_control_set_plays_the_same_sounds_with_other_pictures() -> None:
    shared, control = (compose("chirp_fall", 0, 7, shared_facts=answer) for answer in (True, False))
    np.testing.assert_array_equal(play(shared, RATE, RATE), play(control, RATE, RATE))
    assert not np.array_equal(draw(shared, 32, 2, 2.0), draw(control, 32, 2, 2.0))
