"""Predicting on files: where the windows lie, and what is said of files that give nothing."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from cavmae.evaluation import prediction
from cavmae.evaluation.prediction import Prediction, predict_file, window_starts
from cavmae.media.clip import Clip, ClipSettings, MediaFacts, MediaRejected
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.folder import read_model
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


def clip(seconds: float) -> Clip:
    facts = MediaFacts(seconds, 8.0, 8, 32, 32, 0, "h264", "aac", 16000, 1, seconds, -20.0, 0.0, 5.0, ())
    noise = np.random.default_rng(0).integers(-3000, 3000, int(16000 * seconds)).astype(np.int16)
    return Clip(np.zeros((4, 32, 32, 3), np.uint8), noise, facts)


@pytest.mark.parametrize(("length", "ends"), [(0.8, [0.8]), (3.3, [1.0, 2.0, 3.0]), (3.6, [1.0, 2.0, 3.0, 3.6])])
def test_a_file_without_a_stated_duration_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, length: float, ends: list[float]
) -> None:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)
    config = config.model_copy(update={"clip": config.clip.model_copy(update={"window_s": 1.0})})

    def read(path: Path, start: float, end: float, settings: ClipSettings) -> Clip:
        if start >= length:
            raise MediaRejected("too_short", "Nothing there.")
        return clip(min(end, length) - start)

    monkeypatch.setattr(prediction, "media_duration", lambda path: None)
    monkeypatch.setattr(prediction, "read_clip", read)
    found = list(predict_file(model.eval(), config, Path("x.mkv"), None, 3, torch.device("cpu")))
    assert all(isinstance(item, Prediction) and item.error is None and len(item.scores) == 3 for item in found)
    assert [item.end_s for item in found] == pytest.approx(ends)


def test_a_file_that_gives_nothing_from_its_start_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)

    def read(*_: object) -> Clip:
        raise MediaRejected("no_audio", "There is no sound track.")

    monkeypatch.setattr(prediction, "media_duration", lambda path: None)
    monkeypatch.setattr(prediction, "read_clip", read)
    (only,) = predict_file(model, config, Path("x.mp4"), None, 3, torch.device("cpu"))
    assert only.error == "no_audio: There is no sound track." and only.scores == ()
