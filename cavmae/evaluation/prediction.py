"""Predicting on video files that were never ingested: a model folder and a file are enough."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cavmae.evaluation.inference import score_batch
from cavmae.evaluation.windows import as_batch, file_windows
from cavmae.media.clip import MediaRejected
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.folder import ModelConfig


@dataclass(frozen=True)
class Prediction:
    """Scores of one window of a file, highest first; or `error`, where the file gives nothing to predict on."""

    path: str
    start_s: float = 0.0
    end_s: float = 0.0
    scores: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict_file(
    model: CAVMAEFT, config: ModelConfig, path: Path, hop_s: float | None, top: int, device: torch.device
) -> Iterator[Prediction]:
    """Yield one prediction for every window of the file, as `file_windows` cuts it."""
    for start, clip in file_windows(config, path, hop_s):
        if isinstance(clip, MediaRejected):
            yield Prediction(str(path), round(start, 3), error=str(clip))
            continue
        raw, images = as_batch(config, clip)
        mode = config.mode or "multimodal"
        scores = score_batch(model, config, raw.to(device), images.to(device), mode)[0].cpu().numpy()
        order = np.argsort(-scores, kind="stable")[:top]
        names = [label.display_name for label in config.labels or ()]
        ranked = tuple((names[index], round(float(scores[index]), 6)) for index in order)
        yield Prediction(str(path), round(start, 3), round(start + clip.facts.duration_s, 3), ranked)
