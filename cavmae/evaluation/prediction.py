"""Predicting on video files that were never ingested: a model folder and a file are enough."""

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cavmae.evaluation.inference import score_batch
from cavmae.features.front_end import RawBatch
from cavmae.media.clip import Clip, ClipSettings, MediaRejected
from cavmae.media.decode import read_clip
from cavmae.media.sniff import media_duration
from cavmae.models.cavmaeft import CAVMAEFT, Mode
from cavmae.models.folder import ModelConfig

log = logging.getLogger(__name__)
_SHORTEST_S = 0.1
_MAX_PIXELS = 8192 * 8192


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
    """Yield one prediction for every window of the file; a file longer than the model's window is cut every `hop_s` seconds.

    Without `hop_s` windows do not overlap. What follows the last whole window counts as one if it is half as long. A file
    whose duration is not known is read window by window until nothing usable follows.
    """
    window = config.clip.window_s
    settings = ClipSettings(
        frames=config.clip.frames,
        image_size=config.clip.frame_size,
        sample_rate=config.clip.sample_rate,
        frame_index=config.clip.frame_index,
        min_duration_s=_SHORTEST_S,
        silence_dbfs=-math.inf,
        max_pixels=_MAX_PIXELS,
    )
    try:
        duration = media_duration(path)
        for start in window_starts(duration, window, hop_s or window):
            beyond = duration is None and start > 0  # perhaps behind the end: nobody knows it
            try:
                clip = read_clip(path, start, start + window, settings)
            except MediaRejected:
                if beyond:
                    return
                raise
            if beyond and clip.facts.duration_s < window / 2:
                return
            scores = _score(model, config, clip, device)
            order = np.argsort(-scores, kind="stable")[:top]
            names = [label.display_name for label in config.labels or ()]
            ranked = tuple((names[index], round(float(scores[index]), 6)) for index in order)
            yield Prediction(str(path), round(start, 3), round(start + clip.facts.duration_s, 3), ranked)
    except MediaRejected as rejection:
        yield Prediction(str(path), error=f"{rejection.reason}: {rejection.detail}")


def window_starts(duration: float | None, window: float, hop: float) -> Iterable[float]:
    """Starts of the windows over a file of `duration` seconds; without end where the duration is not known."""
    if duration is None:
        return (number * hop for number in itertools.count())
    if duration <= window:
        return [0.0]
    count = 1 + math.floor((duration - window) / hop + 1e-6)
    starts = [number * hop for number in range(count)]
    if duration - max(starts[-1] + window, count * hop) >= window / 2:
        starts.append(count * hop)
    return starts


def _score(model: CAVMAEFT, config: ModelConfig, clip: Clip, device: torch.device) -> np.ndarray:
    size = config.architecture.img_size
    frames = clip.frames
    if frames.shape[1] != size:
        from PIL import Image

        from cavmae.dataset.records import resize_and_crop

        frames = np.stack([np.asarray(resize_and_crop(Image.fromarray(frame), size)) for frame in frames])
    raw = RawBatch.collate([clip.waveform], [frames[0]], config.fbank).to(device)
    mode: Mode = config.mode or "multimodal"
    images = torch.from_numpy(frames).unsqueeze(0).to(device)
    return score_batch(model, config, raw, images, mode)[0].cpu().numpy()
