"""Augmentation of spectrograms, the same arithmetic as the original's, for a batch, with draws keyed by clip.

Draws are made on the host by one generator for each clip and epoch, so that a batch does not depend on which process or
device computes it; the arithmetic runs where the batch lies, and so does the noise, which a seed of each clip decides.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cavmae.features.noise import uniform_noise

MIXUP_ALPHA = 10.0  # Beta(10, 10), as in the original's fine-tuning
_NOISE_SCALE = 0.1


def clip_rng(seed: int, epoch: int, video_id: str) -> np.random.Generator:
    """The random generator of one clip in one epoch."""
    key = zlib.crc32(video_id.encode()) | (zlib.crc32(video_id[::-1].encode()) << 32)
    return np.random.Generator(np.random.Philox(key=[(seed << 32) ^ epoch, key]))


@dataclass(frozen=True)
class Augmentation:
    """How strongly to augment; 0 or False switches a part off. Widths in mel bins and frames."""

    freq_mask: int
    time_mask: int
    noise: bool
    roll: int  # largest shift, in frames, either way


class Drawn(NamedTuple):
    """What was drawn for one clip; widths and starts in bins or frames."""

    freq_width: int
    freq_start: int
    time_width: int
    time_start: int
    noise_amplitude: float
    noise_seed: int
    roll: int


@dataclass
class Draws:
    """What was drawn for each clip of a batch, as arrays [B]."""

    freq_width: np.ndarray
    freq_start: np.ndarray
    time_width: np.ndarray
    time_start: np.ndarray
    noise_amplitude: np.ndarray
    noise_seed: np.ndarray
    roll: np.ndarray

    @classmethod
    def stack(cls, rows: Sequence[Drawn]) -> "Draws":
        """Put the draws of single clips together."""
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    def row(self, number: int) -> "Draws":
        """The draws of one clip, as arrays [1]."""
        return Draws(*(getattr(self, field.name)[number : number + 1] for field in fields(self)))


def draw(rng: np.random.Generator, setting: Augmentation, target_length: int, num_mel_bins: int) -> Drawn:
    """Draw for one clip: masks as SpecAugment (Park et al. 2019) has them, noise amplitude in [0, 0.1), circular shift."""
    freq, freq_place = rng.random(2).tolist()
    time, time_place = rng.random(2).tolist()
    freq_width, time_width = freq * setting.freq_mask, time * setting.time_mask
    return Drawn(
        freq_width=int(freq_width),
        freq_start=int(freq_place * max(num_mel_bins - freq_width, 0)),
        time_width=int(time_width),
        time_start=int(time_place * max(target_length - time_width, 0)),
        noise_amplitude=rng.random() * _NOISE_SCALE if setting.noise else 0.0,
        noise_seed=int(rng.integers(0, 2**31)),
        roll=int(rng.integers(-setting.roll, setting.roll)) if setting.roll else 0,
    )


def mask_spectrogram(mel: Tensor, draws: Draws) -> Tensor:
    """Zero one band of bins and one span of frames of each clip: [B, T, M] -> [B, T, M], before normalisation."""
    if not (draws.freq_width.any() or draws.time_width.any()):
        return mel
    bins, frames = _axis(mel, 2), _axis(mel, 1)
    in_band = (bins >= _column(mel, draws.freq_start)) & (bins < _column(mel, draws.freq_start + draws.freq_width))
    in_span = (frames >= _column(mel, draws.time_start)) & (frames < _column(mel, draws.time_start + draws.time_width))
    return mel.masked_fill(in_band.unsqueeze(1), 0.0).masked_fill_(in_span.unsqueeze(2), 0.0)


def add_noise_and_roll(mel: Tensor, draws: Draws) -> Tensor:
    """Add uniform positive noise, one amplitude a clip, and shift in time, circularly: [B, T, M] -> [B, T, M]."""
    if draws.noise_amplitude.any():
        amplitude = _there(mel, draws.noise_amplitude).to(mel.dtype).view(-1, 1, 1)
        noise = uniform_noise(_there(mel, draws.noise_seed), *mel.shape[1:])
        mel = noise.mul_(amplitude).add_(mel)
    if draws.roll.any():
        clips, frames = mel.shape[:2]
        source = (_axis(mel, 1) - _column(mel, draws.roll)) % frames  # [B, T]
        source += torch.arange(0, clips * frames, frames, device=mel.device).unsqueeze(1)
        mel = mel.flatten(0, 1).index_select(0, source.flatten()).view_as(mel)
    return mel


def _axis(mel: Tensor, dim: int) -> Tensor:
    return torch.arange(mel.shape[dim], device=mel.device).unsqueeze(0)


def _column(mel: Tensor, values: np.ndarray) -> Tensor:
    return _there(mel, values).unsqueeze(1)


def _there(mel: Tensor, values: np.ndarray) -> Tensor:
    """Values [B] where `mel` is, without waiting for what a GPU has still to do."""
    return torch.as_tensor(values).to(mel.device, non_blocking=True)
