"""The front end as plain tensor operations, for graphs that take samples and pixels instead of features.

Everything that Kaldi's filter bank does to a frame before the power spectrum is linear: taking its mean off, pre-emphasis,
window, Fourier transform. So it is one convolution of the signal with a cosine and a sine kernel for each frequency, and a graph
needs no Fourier operator, which few runtimes have in the same form.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cavmae.features.fbank import FLOOR, PREEMPHASIS, FbankSettings, mel_banks, to_float


def frame_kernels(settings: FbankSettings) -> Tensor:
    """Kernels float64 [2 * (padded/2 + 1), window] whose products with a frame are real and negative imaginary parts.

    Row k and row padded/2 + 1 + k belong to bin k of the transform of a frame that is padded to `padded` samples.
    """
    window = settings.window
    padded = settings.padded_window
    identity = torch.eye(window, dtype=torch.float64)
    without_mean = identity - 1 / window
    emphasis = identity - PREEMPHASIS * torch.diag(torch.ones(window - 1, dtype=torch.float64), -1)
    emphasis[0, 0] = 1 - PREEMPHASIS  # Kaldi takes the first sample as its own predecessor
    hann = torch.hann_window(window, periodic=False, dtype=torch.float64)
    bins = torch.arange(padded // 2 + 1, dtype=torch.float64)
    angle = 2 * torch.pi / padded * torch.outer(bins, torch.arange(window, dtype=torch.float64))
    return (torch.cat([angle.cos(), angle.sin()]) * hann) @ emphasis @ without_mean


class ConvolutionalFrontEnd(nn.Module):
    """Normalised log-mel of int16 waveforms: the same as `FrontEnd.audio` gives, from operations that every runtime has."""

    kernels: Tensor
    banks: Tensor

    def __init__(self, settings: FbankSettings, mean: float, std: float) -> None:
        super().__init__()
        self.settings, self.mean, self.std = settings, mean, std
        banks = mel_banks(settings, torch.device("cpu"))  # [bins, M]
        used = banks.any(dim=1)  # neither the lowest bins nor the Nyquist bin lie under any filter
        kernels = frame_kernels(settings)[torch.cat([used, used])]
        self.register_buffer("kernels", kernels.float().unsqueeze(1))  # [2 * used bins, 1, window]
        self.register_buffer("banks", banks[used])

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """int16 [B, S] with `lengths` int64 [B] valid samples, whatever S is -> [B, target_length, num_mel_bins].

        What lies behind the samples that reach the spectrogram is cut off; rows behind the last whole frame are padding.
        """
        settings = self.settings
        lengths = lengths.clamp(min=0, max=waveform.shape[1]).clamp(max=settings.max_samples)
        # padded by a fixed number and cut, so that nothing behind this line depends on S
        samples = F.pad(waveform.to(torch.float32), (0, settings.max_samples))[:, : settings.max_samples]
        samples = to_float(samples, lengths)
        parts = F.conv1d(samples.unsqueeze(1), self.kernels, stride=settings.shift)  # [B, 2 * used bins, T]
        real, imaginary = parts.chunk(2, dim=1)
        power = (real * real + imaginary * imaginary).transpose(1, 2)  # [B, T, used bins]
        mel = (power @ self.banks).clamp(min=FLOOR).log()  # [B, T, M]
        last_sample = torch.arange(settings.target_length) * settings.shift + settings.window
        whole = last_sample <= lengths.unsqueeze(1)  # [B, T]
        mel = torch.where(whole.unsqueeze(2), mel, 0.0)
        normalised: Tensor = (mel - self.mean) / self.std
        return normalised
