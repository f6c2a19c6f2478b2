"""Predicting on files: one prediction a window, and what is said of files that give nothing."""

from pathlib import Path

import pytest
import torch

from cavmae.evaluation import windows
from cavmae.evaluation.prediction import Prediction, predict_file
from cavmae.media.clip import Clip, ClipSettings, MediaRejected
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.folder import read_model
from tests.evaluation.test_windows import clip
from tests.training.tiny import tiny


def test_every_window_gets_a_prediction_or_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)
    window = config.clip.window_s

    def read(path: Path, start: float, end: float, settings: ClipSettings) -> Clip:
        if start == window:
            raise MediaRejected("undecodable", "Noise.")
        return clip(end - start)

    monkeypatch.setattr(windows, "media_duration", lambda path: 3 * window)
    monkeypatch.setattr(windows, "read_clip", read)
    found = list(predict_file(model.eval(), config, Path("x.mp4"), None, 3, torch.device("cpu")))
    assert [len(item.scores) for item in found] == [3, 0, 3]
    assert found[1] == Prediction("x.mp4", round(window, 3), error="undecodable: Noise.")
    assert found[2].end_s == pytest.approx(3 * window)


def test_a_file_that_gives_nothing_from_its_start_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)

    def read(*_: object) -> Clip:
        raise MediaRejected("no_audio", "There is no sound track.")

    monkeypatch.setattr(windows, "media_duration", lambda path: None)
    monkeypatch.setattr(windows, "read_clip", read)
    (only,) = predict_file(model, config, Path("x.mp4"), None, 3, torch.device("cpu"))
    assert only.error == "no_audio: There is no sound track." and only.scores == ()
