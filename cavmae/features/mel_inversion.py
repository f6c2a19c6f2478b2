"""From log-mel filter banks back to power spectra: the non-negative inverse of the mel filters.

Several Fourier bins share a filter, so many spectra have the same filter bank. Of these the multiplicative updates of Lee &
Seung (1999, Nature 401; 2001, NIPS, theorem 2) find one: they start from a smooth spectrum, keep it non-negative, and lower
the generalised Kullback-Leibler divergence to the given energies. Least squares cares for loud bands only: after as many
updates its log-mel is 20 times farther off on average.
"""

import torch
from torch import Tensor

from cavmae.features.fbank import FLOOR, PREEMPHASIS, FbankSettings, mel_banks

_UPDATES = 50  # brings the log-mel of real clips within 0.001 on average
_TINY = 1e-20


def power_from_log_mel(log_mel: Tensor, settings: FbankSettings) -> Tensor:
    """Log-mel [T, M] -> power spectrum [T, padded/2 + 1] of the pre-emphasised and windowed frames, >= 0.

    Values at the filter bank's floor become 0, and none exceeds what 16-bit sound can have. Bins that no filter covers,
    0 Hz and Nyquist among them, stay 0; a filter that covers no bin (number 3 of 128 at 16 kHz) tells nothing.
    Raises ValueError for values that are not finite.
    """
    if not bool(log_mel.isfinite().all()):
        raise ValueError("the spectrogram holds values that are not finite")
    banks = mel_banks(settings, log_mel.device)  # [F, M]
    energies = log_mel.clamp(max=_loudest(settings)).exp()
    energies = torch.where(energies > FLOOR * 1.001, energies, torch.zeros_like(energies))
    bin_weight = banks.sum(dim=1)  # [F]
    reach = bin_weight.clamp(min=_TINY)
    # each filter's energy spread evenly over its bins
    spectrum = energies @ (banks / banks.sum(dim=0).clamp(min=_TINY)).t() / reach * (bin_weight > 0)  # [T, F]
    for _ in range(_UPDATES):
        ratio = energies / (spectrum @ banks).clamp(min=_TINY)  # [T, M]
        spectrum = spectrum * (ratio @ banks.t() / reach)
    return spectrum


def _loudest(settings: FbankSettings) -> float:
    """Logarithm of an energy that no frame of sound within [-1, 1) exceeds, by Parseval's theorem."""
    largest = 2 * (1 + PREEMPHASIS)  # of a sample whose clip had its mean removed, after pre-emphasis
    window = torch.hann_window(settings.window, periodic=False)
    return float(torch.log(settings.padded_window * largest**2 * window.square().sum()))
