"""Log-mel filter banks turned back to power spectra: their own filter banks are what they came from."""

import math

import pytest
import torch

from cavmae.features.fbank import FLOOR, FbankSettings, mel_banks
from cavmae.features.mel_inversion import power_from_log_mel

SETTINGS = [
    FbankSettings(16000, 128, 64),
    FbankSettings(16000, 64, 64),
    FbankSettings(8000, 40, 64),
    FbankSettings(44100, 128, 64),
]


def banks(settings: FbankSettings) -> torch.Tensor:
    return mel_banks(settings, torch.device("cpu"))


def spectra(settings: FbankSettings, frames: int = 20) -> torch.Tensor:
    """Power spectra [T, F] over nine orders of magnitude, with peaks and gaps."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(frames, len(banks(settings)), generator=generator).mul(3).exp()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_filter_bank_of_the_inverse_is_the_one_that_was_given(settings: FbankSettings) -> None:
    log_mel = (spectra(settings) @ banks(settings)).clamp(min=FLOOR).log()
    power = power_from_log_mel(log_mel, settings)
    assert power.shape == (20, len(banks(settings))) and bool((power >= 0).all())
    covering = banks(settings).sum(dim=0) > 0
    difference = ((power @ banks(settings)).clamp(min=FLOOR).log() - log_mel)[:, covering]
    assert difference.abs().mean() < 0.02


def test_bins_without_a_filter_stay_empty_and_a_filter_without_bins_changes_nothing() -> None:
    settings = SETTINGS[0]
    uncovered = banks(settings).sum(dim=1) == 0
    assert uncovered[0] and uncovered[-1]  # 0 Hz and Nyquist
    assert (banks(settings).sum(dim=0) == 0).nonzero().flatten().tolist() == [3]
    log_mel = (spectra(settings) @ banks(settings)).clamp(min=FLOOR).log()
    power = power_from_log_mel(log_mel, settings)
    assert not power[:, uncovered].any()
    log_mel[:, 3] = 5.0
    assert torch.equal(power_from_log_mel(log_mel, settings), power)


def test_the_floor_is_silence_also_after_normalising_and_back() -> None:
    log_mel = torch.full((3, 128), math.log(FLOOR))
    there_and_back = (log_mel + 5.081) / 4.4849 * 4.4849 - 5.081
    assert not power_from_log_mel(there_and_back, SETTINGS[0]).any()


def test_what_no_sound_can_be_is_bounded_and_what_is_no_number_is_refused() -> None:
    power = power_from_log_mel(torch.full((2, 128), 500.0), SETTINGS[0])
    assert bool(power.isfinite().all()) and power.max() < 1e7
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            power_from_log_mel(torch.full((2, 128), value), SETTINGS[0])
