"""From log-mel filter banks back to sound: phases by the Griffin-Lim algorithm.

A spectrogram holds no phases. Griffin & Lim (1984, IEEE Trans. ASSP 32) find some by turning magnitudes into sound and
back, keeping the magnitudes; with the momentum of Perraudin, Balazs & Soendergaard (2013, WASPAA) it converges faster and
farther. Level is kept: what was loud in the clip is as loud here.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import griffinlim, lfilter

from cavmae.features.fbank import PREEMPHASIS, FbankSettings
from cavmae.features.mel_inversion import power_from_log_mel

_MOMENTUM = 0.99
_FULL_SCALE = 32768.0


def waveform_from_log_mel(log_mel: Tensor, settings: FbankSettings, iterations: int, seed: int) -> Tensor:
    """Log-mel [T, M] of T frames (not normalised, without padding) -> sound float32 [window + (T - 1) * shift].

    Full scale is 1, which loud sound may exceed a little. Frame t of the result stands where frame t of the clip stood. The
    first phases are drawn with `seed`, on the CPU, where `log_mel` lies too; torch's own generator stays as it is. Raises
    ValueError where there is no frame, or for values that are not finite.
    """
    if not len(log_mel):
        raise ValueError("the spectrogram holds no frame")
    magnitude = power_from_log_mel(log_mel, settings).sqrt().t()  # [F, T]
    window, shift, padded = settings.window, settings.shift, settings.padded_window
    # frames repeated at both ends: the transform's own begin and end with half a frame
    extra = math.ceil(window / 2 / shift)
    magnitude = torch.cat([magnitude[:, :1].expand(-1, extra), magnitude, magnitude[:, -1:].expand(-1, extra)], dim=1)
    with torch.random.fork_rng(devices=[]):
        # phases all 0 would make a hum of 100 Hz, the frame rate, wherever the spectrum changes slowly
        torch.default_generator.manual_seed(seed)
        samples: Tensor = griffinlim(
            magnitude.unsqueeze(0).contiguous(),
            window=torch.hann_window(window, periodic=False),
            n_fft=padded,
            hop_length=shift,
            win_length=window,
            power=1.0,
            n_iter=iterations,
            momentum=_MOMENTUM,
            length=None,
            rand_init=True,
        )[0]
    # the transform's frames are centred in `padded` samples, and its first sample is the centre of its first frame
    first = extra * shift - (padded // 2 - (padded - window) // 2)
    samples = samples[first : first + window + (len(log_mel) - 1) * shift]
    # y[n] = x[n] + 0.97 y[n - 1]: pre-emphasis undone
    samples = lfilter(samples, samples.new_tensor([1.0, -PREEMPHASIS]), samples.new_tensor([1.0, 0.0]), clamp=False)
    return samples - samples.mean()


def fitting_gain(sounds: Sequence[Tensor]) -> float:
    """The largest factor, at most 1, by which no sample of any of these sounds (full scale 1) exceeds 16 bits."""
    peak = max((float(samples.abs().max()) for samples in sounds if len(samples)), default=0.0)
    return min(1.0, (_FULL_SCALE - 1) / _FULL_SCALE / peak) if peak > 0 else 1.0


def to_int16(samples: Tensor, gain: float = 1.0) -> NDArray[np.int16]:
    """Sound float [S] with full scale 1, times `gain`, as int16 [S]; what still exceeds full scale is clipped."""
    scaled = (samples.double() * (gain * _FULL_SCALE)).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1)
    return scaled.to(torch.int16).numpy()
