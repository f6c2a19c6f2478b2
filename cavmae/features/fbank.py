"""Kaldi-compatible log-mel filter banks of a whole batch at once.

The recipe is the original's (`torchaudio.compliance.kaldi.fbank` with htk_compat, Hanning window, dither 0): 25 ms frames every
10 ms, DC removal, pre-emphasis 0.97, symmetric Hann window, power spectrum, triangular mel filters from 20 Hz to Nyquist,
natural logarithm with floor 2^-23 (Povey et al. 2011, Kaldi; O'Shaughnessy 1987 for the mel scale 1127 ln(1 + f/700)).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

FRAME_S, SHIFT_S, PREEMPHASIS, LOW_HZ = 0.025, 0.010, 0.97, 20.0
FLOOR = torch.finfo(torch.float32).eps  # of the mel energies, before the logarithm


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
    samples = waveform.to(torch.float32) / 32768.0
    valid = torch.arange(samples.shape[1], device=samples.device) < lengths.unsqueeze(1)  # [B, S]
    samples = samples * valid
    mean = samples.sum(dim=1, keepdim=True) / lengths.clamp(min=1).unsqueeze(1)
    return (samples - mean) * valid


def fbank(samples: Tensor, lengths: Tensor, settings: FbankSettings) -> Tensor:
    """float32 [B, S] with `lengths` [B] valid samples -> log-mel [B, target_length, num_mel_bins].

    Frames lie wholly inside the clip (`snip_edges`); rows behind the last frame are 0, as in the original.
    """
    window, shift, target = settings.window, settings.shift, settings.target_length
    if samples.shape[1] < window:
        samples = torch.nn.functional.pad(samples, (0, window - samples.shape[1]))
    samples = samples[:, : settings.max_samples]
    # on a CPU one clip at a time: what lies between its samples and its spectrogram then stays in the cache
    pieces = torch.split(samples, 1) if samples.device.type == "cpu" else (samples,)
    mel = torch.cat([_log_mel(piece, settings) for piece in pieces])  # [B, T, M]
    counts = ((lengths - window) // shift + 1).clamp(min=0)
    mel *= (torch.arange(mel.shape[1], device=mel.device) < counts.unsqueeze(1)).unsqueeze(2)
    return torch.nn.functional.pad(mel, (0, 0, 0, target - mel.shape[1]))


def _log_mel(samples: Tensor, settings: FbankSettings) -> Tensor:
    """Log-mel [B, T, M] of every whole frame of `samples` [B, S]."""
    window, shift = settings.window, settings.shift
    # each frame's mean is taken off behind pre-emphasis, which leaves (1 - 0.97) of a constant
    mean = samples.unfold(1, window, shift).mean(dim=2, keepdim=True)
    frames = _pre_emphasised(samples).unfold(1, window, shift) - (1 - PREEMPHASIS) * mean  # [B, T, window]
    frames *= _hann(window, samples.device)
    spectrum = torch.fft.rfft(frames, n=settings.padded_window)  # [B, T, padded/2 + 1]
    power = spectrum.real.square() + spectrum.imag.square()
    energies = power @ mel_banks(settings, samples.device)  # [B, T, M]
    log_energies: Tensor = energies.clamp_(min=FLOOR).log_()
    return log_energies


def _pre_emphasised(samples: Tensor) -> Tensor:
    """Pre-emphasis of the whole signal at once, [B, S]. A frame's first sample, where Kaldi does otherwise, has window 0."""
    emphasised = samples.clone()
    emphasised[:, 1:] -= PREEMPHASIS * samples[:, :-1]
    return emphasised


@lru_cache(maxsize=8)
def _hann(window: int, device: torch.device) -> Tensor:
    return torch.hann_window(window, periodic=False, device=device)


@lru_cache(maxsize=8)
def mel_banks(settings: FbankSettings, device: torch.device) -> Tensor:
    """Filter matrix [padded/2 + 1, num_mel_bins]."""
    from torchaudio.compliance.kaldi import get_mel_banks

    banks, _ = get_mel_banks(
        settings.num_mel_bins, settings.padded_window, float(settings.sample_rate), LOW_HZ, 0.0, 100.0, -500.0, 1.0
    )
    banks = torch.nn.functional.pad(banks, (0, 1))  # the Nyquist bin has no filter
    return banks.t().contiguous().to(device)
