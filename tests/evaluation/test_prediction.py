"""Predicting on files: one prediction a window, and what is said of files that give nothing."""

import dataclasses
from pathlib import Path

import numpy as np
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

    def read(path: Path, start: float, end: float, settings: ClipSettings, alone: object) -> Clip:
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


def test_frames_are_numbered_and_timed_where_their_times_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)
    known = np.array([-1e-9, 0.25, 0.5, 0.75])

    def read(path: Path, start: float, end: float, settings: ClipSettings, alone: object) -> Clip:
        return dataclasses.replace(clip(end - start), times=known if start else None)

    monkeypatch.setattr(windows, "media_duration", lambda path: 2 * config.clip.window_s)
    monkeypatch.setattr(windows, "read_clip", read)
    first, second = predict_file(model.eval(), config, Path("x.mp4"), None, 3, torch.device("cpu"), per_frame=True)
    assert [(one.frame, one.time_s) for one in first.frames] == [(n, None) for n in range(4)]
    assert [one.time_s for one in second.frames] == [round(second.start_s + n / 4, 3) for n in range(4)]
    assert all(len(one.scores) == 3 and one.scores[0][1] >= one.scores[1][1] for one in (*first.frames, *second.frames))
