"""Predicting on video files that were never ingested: a model folder and a file are enough."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cavmae.evaluation.inference import Precision, score_frames
from cavmae.evaluation.windows import as_batch, file_windows
from cavmae.media.clip import Clip, MediaRejected, Part
from cavmae.models.cavmaeft import CAVMAEFT, SEES, Mode
from cavmae.models.folder import ModelConfig

Scores = tuple[tuple[str, float], ...]
_PARTS: dict[str, Part] = {"a": "sound", "v": "picture"}


@dataclass(frozen=True)
class FramePrediction:
    """Scores of one frame, highest first: its number in the window, and when it comes on show, in seconds of the file."""

    frame: int
    time_s: float | None
    scores: Scores


@dataclass(frozen=True)
class Prediction:
    """Scores of one window of a file, highest first; or `error`, where the file gives nothing to predict on.

    The scores are the mean over the window's frames, each of which has its own in `frames` where they were asked for.
    `missing` is what a model of both did without, because the window has none of it.
    """

    path: str
    start_s: float = 0.0
    end_s: float = 0.0
    scores: Scores = ()
    frames: tuple[FramePrediction, ...] = ()
    error: str | None = None
    missing: Part | None = None


def predict_file(
    model: CAVMAEFT,
    config: ModelConfig,
    path: Path,
    hop_s: float | None,
    top: int,
    device: torch.device,
    per_frame: bool = False,
    precision: Precision = "float32",
) -> Iterator[Prediction]:
    """Yield one prediction for every window of the file, as `file_windows` cuts it; `per_frame` adds those of its frames.

    A model of one modality needs no other. One of both makes do with the one that a window has, in the mode that is for that.
    """
    trained = config.mode or "multimodal"
    alone = [_PARTS[modality] for modality in SEES[trained]]
    for start, clip in file_windows(config, path, hop_s, alone):
        if isinstance(clip, MediaRejected):
            yield Prediction(str(path), round(start, 3), error=str(clip))
            continue
        raw, images = as_batch(config, clip)
        mode, missing = _at_hand(trained, clip)
        scores = score_frames(model, config, raw.to(device), images.to(device), mode, precision)[0]  # [F, C]
        frames: tuple[FramePrediction, ...] = ()
        if per_frame and "v" in SEES[mode]:
            times = _times(clip, start)
            each = scores.cpu().numpy()
            frames = tuple(FramePrediction(n, times[n], _best(config, row, top)) for n, row in enumerate(each))
        mean = _best(config, scores.mean(dim=0).cpu().numpy(), top)
        yield Prediction(str(path), round(start, 3), round(start + clip.facts.duration_s, 3), mean, frames, missing=missing)


def _at_hand(trained: Mode, clip: Clip) -> tuple[Mode, Part | None]:
    """The mode in which a model that was trained in another can see a clip, and what the clip lacks for that one."""
    if trained == "multimodal" and not len(clip.frames):
        return "missingaudioonly", "picture"  # the original's word for "only audio is at hand"
    if trained == "multimodal" and not len(clip.waveform):
        return "missingvideoonly", "sound"
    return trained, None


def _best(config: ModelConfig, scores: np.ndarray, top: int) -> Scores:
    """The `top` highest of `scores` [C] with their labels."""
    names = [label.display_name for label in config.labels or ()]
    return tuple((names[index], round(float(scores[index]), 6)) for index in np.argsort(-scores, kind="stable")[:top])


def _times(clip: Clip, start: float) -> list[float | None]:
    """When each frame of the window that begins at `start` comes on show, in seconds of the file."""
    if clip.times is None:
        return [None] * len(clip.frames)
    return [round(start + max(float(time), 0.0), 3) for time in clip.times]
