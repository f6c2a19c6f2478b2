"""Kaldi-compatible log-mel filter banks of a whole batch at once.

The recipe is the original's (`torchaudio.compliance.kaldi.fbank` with htk_compat, Hanning window, dither 0): 25 ms frames every
10 ms, DC removal, pre-emphasis 0.97, symmetric Hann window, power spectrum, triangular mel filters from 20 Hz to Nyquist,
natural logarithm with floor 2^-23 (Povey et al. 2011, Kaldi; O'Shaughnessy 1987 for the mel scale 1127 ln(1 + f/700)).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

FRAME_S, SHIFT_S, PREEMPHASIS, LOW_HZ = 0.025, 0.010, 0.97, 20.0
FLOOR = torch.finfo(torch.float32).eps  # of the mel energies, before the logarithm
_GROUP = 16  # mel filters that are applied together on a CPU
_AT_ONCE = 64  # clips whose frames are in memory together on a GPU


@dataclass(frozen=True)
class FbankSettings:
    """`target_length` is the number of frames a clip is padded or cut to."""

    sample_rate: int
    num_mel_bins: int
    target_length: int

    @property
    def window(self) -> int:
        """Samples in a frame."""
        return int(self.sample_rate * FRAME_S)

    @property
    def padded_window(self) -> int:
        """Samples in a frame that is zero-padded to a power of two for the Fourier transform."""
        return 1 << (self.window - 1).bit_length()

    @property
    def shift(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_rate * SHIFT_S)

    @property
    def max_samples(self) -> int:
        """Samples beyond which nothing reaches the spectrogram."""
        return self.window + (self.target_length - 1) * self.shift


def to_float(waveform: Tensor, lengths: Tensor) -> Tensor:
    """int16 [B, S] with `lengths` [B] valid samples -> float32 [B, S] in [-1, 1), each clip's mean removed, zeros behind it."""
    samples = clear_behind(waveform.to(torch.float32).mul_(1 / 32768), lengths)
    return remove_mean(samples, lengths)


def remove_mean(samples: Tensor, lengths: Tensor) -> Tensor:
    """Take each clip's mean off `samples` [B, S], in place; they are zero behind their `lengths` [B] and stay so."""
    mean = samples.sum(dim=1, keepdim=True) / lengths.clamp(min=1).unsqueeze(1)
    return clear_behind(samples.sub_(mean), lengths)


def clear_behind(values: Tensor, lengths: Tensor) -> Tensor:
    """Zero `values` [B, N, ...] from place `lengths` [B] on, in place."""
    if values.device.type == "cpu" and isinstance(values.shape[0], int):  # a trace leaves the number of clips open
        for row, length in zip(values, lengths.tolist(), strict=True):
            row[length:].zero_()
        return values
    kept = torch.arange(values.shape[1], device=values.device) < lengths.unsqueeze(1)  # [B, N]
    return values.mul_(kept.view(*kept.shape, *[1] * (values.ndim - 2)))


def frame_counts(lengths: Tensor, settings: FbankSettings) -> Tensor:
    """Number of frames [B], at most `target_length`, that lie wholly inside clips of `lengths` [B] samples."""
    return ((lengths - settings.window) // settings.shift + 1).clamp(0, settings.target_length)


def fbank(samples: Tensor, lengths: Tensor, settings: FbankSettings) -> Tensor:
    """float32 [B, S] with `lengths` [B] valid samples -> log-mel [B, target_length, num_mel_bins].

    Frames lie wholly inside the clip (`snip_edges`); rows behind the last frame are 0, as in the original.
    """
    counts = frame_counts(lengths.clamp(max=samples.shape[1]), settings)
    mel = samples.new_zeros(len(samples), settings.target_length, settings.num_mel_bins)
    if samples.device.type == "cpu":
        _fill_one_by_one(samples, counts, settings, mel)
    else:
        _fill_together(samples, counts, settings, mel)
    return mel


def _fill_one_by_one(samples: Tensor, counts: Tensor, settings: FbankSettings, mel: Tensor) -> None:
    """Fill `mel` clip by clip: what lies between samples and spectrogram then stays in a CPU's cache."""
    for row, count in enumerate(counts.tolist()):
        if not count:
            continue
        out = mel[row, :count]  # [T, M]
        power = _power(samples[row : row + 1], count, settings, _own_space(count, settings))[0]  # [T, F]
        for band, first, banks in _filter_groups(settings):
            torch.mm(power[:, first : first + len(banks)], banks, out=out[:, band : band + banks.shape[1]])
        energies = out.clamp_(min=FLOOR).numpy()
        np.log(energies, out=energies)  # takes less than half as long as torch's


def _fill_together(samples: Tensor, counts: Tensor, settings: FbankSettings, mel: Tensor) -> None:
    """Fill `mel` for many clips at once, as a GPU likes it."""
    most = int(frame_counts(torch.tensor(samples.shape[1]), settings))
    if not most:
        return
    for clips, out in zip(torch.split(samples, _AT_ONCE), torch.split(mel[:, :most], _AT_ONCE), strict=True):
        power = _power(clips, most, settings, _Space.make(len(clips), most, settings, clips.device))  # [B, T, F]
        with _whole_float32():
            energies = power @ mel_banks(settings, clips.device)  # [B, T, M]
        torch.log(energies.clamp_(min=FLOOR), out=out)
    clear_behind(mel, counts)


class _Space(NamedTuple):
    """Room for what lies between samples and spectrogram; the transform's input stays zero behind the window."""

    frames: Tensor  # [B, T, padded]
    squares: Tensor  # [B, T, padded/2 + 1, 2]
    power: Tensor  # [B, T, padded/2 + 1]

    @classmethod
    def make(cls, clips: int, count: int, settings: FbankSettings, device: torch.device) -> "_Space":
        bins = settings.padded_window // 2 + 1
        return cls(
            torch.zeros(clips, count, settings.padded_window, device=device),
            torch.empty(clips, count, bins, 2, device=device),
            torch.empty(clips, count, bins, device=device),
        )


class _Kept(threading.local):
    """On a CPU each thread keeps room for one clip: to ask the system for fresh memory costs as much as the arithmetic."""

    settings: FbankSettings | None = None
    space: _Space


_kept = _Kept()


def _own_space(count: int, settings: FbankSettings) -> _Space:
    if _kept.settings != settings:
        _kept.space = _Space.make(1, settings.target_length, settings, torch.device("cpu"))
        _kept.settings = settings
    return _Space(*(part[:, :count] for part in _kept.space))


def _power(samples: Tensor, count: int, settings: FbankSettings, space: _Space) -> Tensor:
    """Power spectra [B, T, padded/2 + 1] of the first `count` = T frames of `samples` [B, S]."""
    window, shift = settings.window, settings.shift
    samples = samples[:, : window + (count - 1) * shift]
    # each frame's mean is taken off behind pre-emphasis, which leaves (1 - 0.97) of a constant
    mean = samples.unfold(1, window, shift).mean(dim=2, keepdim=True).mul_(1 - PREEMPHASIS)  # [B, T, 1]
    frames = space.frames[..., :window]
    torch.sub(_pre_emphasised(samples).unfold(1, window, shift), mean, out=frames).mul_(_hann(window, samples.device))
    spectrum = torch.view_as_real(torch.fft.rfft(space.frames))  # [B, T, padded/2 + 1, 2]
    torch.mul(spectrum, spectrum, out=space.squares)
    return torch.add(space.squares[..., 0], space.squares[..., 1], out=space.power)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Products on a GPU with all bits of float32, also where the model's may do with fewer."""
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def _pre_emphasised(samples: Tensor) -> Tensor:
    """Pre-emphasis of the whole signal at once, [B, S]. A frame's first sample, where Kaldi does otherwise, has window 0."""
    emphasised = torch.empty_like(samples)
    emphasised[:, :1] = samples[:, :1]
    torch.sub(samples[:, 1:], samples[:, :-1], alpha=PREEMPHASIS, out=emphasised[:, 1:])
    return emphasised


@lru_cache(maxsize=8)
def _hann(window: int, device: torch.device) -> Tensor:
    return torch.hann_window(window, periodic=False, device=device)


class _Filters(NamedTuple):
    """Mel filters from number `band` on, and the Fourier bins that they cover, from `first` on: `banks` [bins, bands]."""

    band: int
    first: int
    banks: Tensor


@lru_cache(maxsize=8)
def _filter_groups(settings: FbankSettings) -> list[_Filters]:
    """The filters in groups of neighbours, which share few of the bins: most of the whole matrix is zeros."""
    whole = mel_banks(settings, torch.device("cpu"))
    groups = []
    for band in range(0, settings.num_mel_bins, _GROUP):
        banks = whole[:, band : band + _GROUP]
        covered = banks.any(dim=1).nonzero().flatten().tolist() or [0]
        groups.append(_Filters(band, covered[0], banks[covered[0] : covered[-1] + 1].contiguous()))
    return groups


@lru_cache(maxsize=8)
def mel_banks(settings: FbankSettings, device: torch.device) -> Tensor:
    """Filter matrix [padded/2 + 1, num_mel_bins]."""
    from torchaudio.compliance.kaldi import get_mel_banks

    banks, _ = get_mel_banks(
        settings.num_mel_bins, settings.padded_window, float(settings.sample_rate), LOW_HZ, 0.0, 100.0, -500.0, 1.0
    )
    banks = torch.nn.functional.pad(banks, (0, 1))  # the Nyquist bin has no filter
    return banks.t().contiguous().to(device)
