"""Augmentation of spectrograms, the same arithmetic as the original's, for a batch, with draws keyed by clip.

Draws are made on the host by one generator for each clip and epoch, so that a batch does not depend on which process or
device computes it; the arithmetic runs where the batch lies.
"""

import zlib
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

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
    def stack(cls, rows: list["Draws"]) -> "Draws":
        """Put the draws of single clips together."""
        return cls(**{field.name: np.concatenate([getattr(row, field.name) for row in rows]) for field in fields(cls)})


def draw(rng: np.random.Generator, setting: Augmentation, target_length: int, num_mel_bins: int) -> Draws:
    """Draw for one clip: masks as SpecAugment (Park et al. 2019) has them, noise amplitude in [0, 0.1), circular shift."""
    freq = rng.random(2)
    time = rng.random(2)
    freq_width, time_width = freq[0] * setting.freq_mask, time[0] * setting.time_mask
    return Draws(
        freq_width=np.array([int(freq_width)]),
        freq_start=np.array([int(freq[1] * max(num_mel_bins - freq_width, 0))]),
        time_width=np.array([int(time_width)]),
        time_start=np.array([int(time[1] * max(target_length - time_width, 0))]),
        noise_amplitude=np.array([rng.random() * _NOISE_SCALE if setting.noise else 0.0]),
        noise_seed=rng.integers(0, 2**31, 1),
        roll=rng.integers(-setting.roll, setting.roll, 1) if setting.roll else np.zeros(1, dtype=np.int64),
    )


def mask_spectrogram(mel: Tensor, draws: Draws) -> Tensor:
    """Zero one band of bins and one span of frames of each clip: [B, T, M] -> [B, T, M], before normalisation."""
    if not (draws.freq_width.any() or draws.time_width.any()):
        return mel
    bins, frames = _axis(mel, 2), _axis(mel, 1)
    in_band = (bins >= _column(mel, draws.freq_start)) & (bins < _column(mel, draws.freq_start + draws.freq_width))
    in_span = (frames >= _column(mel, draws.time_start)) & (frames < _column(mel, draws.time_start + draws.time_width))
    return mel.masked_fill(in_band.unsqueeze(1) | in_span.unsqueeze(2), 0.0)


def add_noise_and_roll(mel: Tensor, draws: Draws) -> Tensor:
    """Add uniform positive noise, one amplitude a clip, and shift in time, circularly: [B, T, M] -> [B, T, M]."""
    if draws.noise_amplitude.any():
        noise = np.stack(
            [
                np.random.Generator(np.random.Philox(int(seed))).random(mel.shape[1:], dtype=np.float32)
                for seed in draws.noise_seed
            ]
        )
        amplitude = torch.as_tensor(draws.noise_amplitude, dtype=mel.dtype, device=mel.device)
        mel = mel + torch.from_numpy(noise).to(mel.device) * amplitude.view(-1, 1, 1)
    if draws.roll.any():
        source = (_axis(mel, 1) - _column(mel, draws.roll)) % mel.shape[1]  # [B, T]
        mel = torch.gather(mel, 1, source.unsqueeze(2).expand(-1, -1, mel.shape[2]))
    return mel


def _axis(mel: Tensor, dim: int) -> Tensor:
    return torch.arange(mel.shape[dim], device=mel.device).unsqueeze(0)


def _column(mel: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, device=mel.device).unsqueeze(1)
