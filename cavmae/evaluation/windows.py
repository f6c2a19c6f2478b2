"""Clips straight from video files that were never ingested: the window that a model sees slides over the file."""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cavmae.dataset.records import resize_and_crop
from cavmae.features.front_end import RawBatch
from cavmae.media.clip import Clip, ClipSettings, MediaRejected, Part
from cavmae.media.decode import read_clip
from cavmae.media.sniff import media_duration
from cavmae.models.folder import ModelConfig

_SHORTEST_S = 0.1
_MAX_PIXELS = 8192 * 8192
_OF_THE_FILE = frozenset(
    {"unreadable_file", "empty_file", "not_media", "undecodable", "too_large", "no_video", "no_audio"}
)  # reasons for which no other window is tried behind the first


def file_windows(
    config: ModelConfig, path: Path, hop_s: float | None, alone: Collection[Part] = ()
) -> Iterator[tuple[float, Clip | MediaRejected]]:
    """Yield start in seconds and clip of every window of a file that is as long as the model's clips, one every `hop_s`.

    Without `hop_s` windows do not overlap. What follows the last whole window counts as one if it is half as long. A file
    whose duration is not known is read window by window until nothing usable follows. A window that cannot be read gives
    the reason instead, and the next is tried; where the first fails for a reason that holds for the whole file, that is all.
    A window that has only one of sound and picture counts where that one is `alone` enough.
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
    except MediaRejected as rejection:
        yield 0.0, rejection
        return
    for start in window_starts(duration, window, hop_s or window):
        beyond = duration is None and start > 0  # perhaps behind the end: nobody knows it
        try:
            clip = read_clip(path, start, start + window, settings, alone)
        except MediaRejected as rejection:
            if beyond:
                return
            yield start, rejection
            if start == 0 and rejection.reason in _OF_THE_FILE:
                return
            continue
        if beyond and clip.facts.duration_s < window / 2:
            return
        yield start, clip


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


def as_batch(config: ModelConfig, clip: Clip) -> tuple[RawBatch, Tensor]:
    """Return a clip as the batch that the front end takes, and all its frames at the model's size, uint8 [1, F, H, W, 3].

    The batch holds the middle frame; of a clip without pictures it is black, and F is 0.
    """
    frames = model_frames(config, clip)
    middle = frames[len(frames) // 2] if len(frames) else np.zeros(frames.shape[1:], np.uint8)
    return RawBatch.collate([clip.waveform], [middle], config.fbank), torch.from_numpy(frames).unsqueeze(0)


def model_frames(config: ModelConfig, clip: Clip) -> np.ndarray:
    """Return a clip's frames at the model's size, uint8 [F, H, W, 3]."""
    size = config.architecture.img_size
    if clip.frames.shape[1] == size:
        return clip.frames
    if not len(clip.frames):
        return np.zeros((0, size, size, 3), np.uint8)
    return np.stack([np.asarray(resize_and_crop(Image.fromarray(frame), size)) for frame in clip.frames])
