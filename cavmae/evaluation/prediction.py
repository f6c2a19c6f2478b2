"""Predicting on video files that were never ingested: a model folder and a file are enough."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cavmae.evaluation.inference import score_frames
from cavmae.evaluation.windows import as_batch, file_windows
from cavmae.media.clip import Clip, MediaRejected
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.folder import ModelConfig

Scores = tuple[tuple[str, float], ...]


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
    """

    path: str
    start_s: float = 0.0
    end_s: float = 0.0
    scores: Scores = ()
    frames: tuple[FramePrediction, ...] = ()
    error: str | None = None


def predict_file(
    model: CAVMAEFT,
    config: ModelConfig,
    path: Path,
    hop_s: float | None,
    top: int,
    device: torch.device,
    per_frame: bool = False,
) -> Iterator[Prediction]:
    """Yield one prediction for every window of the file, as `file_windows` cuts it; `per_frame` adds those of its frames."""
    for start, clip in file_windows(config, path, hop_s):
        if isinstance(clip, MediaRejected):
            yield Prediction(str(path), round(start, 3), error=str(clip))
            continue
        raw, images = as_batch(config, clip)
        scores = score_frames(model, config, raw.to(device), images.to(device), config.mode or "multimodal")[0]  # [F, C]
        frames: tuple[FramePrediction, ...] = ()
        if per_frame:
            times = _times(clip, start)
            each = scores.cpu().numpy()
            frames = tuple(FramePrediction(n, times[n], _best(config, row, top)) for n, row in enumerate(each))
        mean = _best(config, scores.mean(dim=0).cpu().numpy(), top)
        yield Prediction(str(path), round(start, 3), round(start + clip.facts.duration_s, 3), mean, frames)


def _best(config: ModelConfig, scores: np.ndarray, top: int) -> Scores:
    """The `top` highest of `scores` [C] with their labels."""
    names = [label.display_name for label in config.labels or ()]
    return tuple((names[index], round(float(scores[index]), 6)) for index in np.argsort(-scores, kind="stable")[:top])


def _times(clip: Clip, start: float) -> list[float | None]:
    """When each frame of the window that begins at `start` comes on show, in seconds of the file."""
    if clip.times is None:
        return [None] * len(clip.frames)
    return [round(start + max(float(time), 0.0), 3) for time in clip.times]
