"""Log-mel statistics: what a direct computation gives, one batch at a time, and exact where hardly anything varies."""

import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipSet
from cavmae.dataset.records import decode_waveform
from cavmae.features import statistics
from cavmae.features.fbank import FbankSettings, fbank, to_float
from cavmae.features.statistics import _Moments, log_mel_statistics, whole_patches
from tests.training.tiny import tiny

SETTINGS = FbankSettings(sample_rate=16000, num_mel_bins=128, target_length=144)


def held_in_memory(settings: FbankSettings) -> np.ndarray:
    """Float64 [N, T, M] of every train clip of the tiny set, clip by clip."""
    banks = []
    for clip in ClipSet(tiny().dataset).split("train"):
        wave = torch.from_numpy(decode_waveform(clip.members()).copy()).unsqueeze(0)
        count = torch.tensor([wave.shape[1]])
        banks.append(fbank(to_float(wave, count), count, settings).double().numpy())
    return np.concatenate(banks)


@pytest.mark.parametrize("length", [48, 144])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_one_pass_equals_a_direct_computation_over_the_same_filter_banks(
    monkeypatch: pytest.MonkeyPatch, length: int, batch: int
) -> None:
    monkeypatch.setattr(statistics, "_BATCH", batch)
    settings = FbankSettings(16000, 128, length)
    measured = log_mel_statistics(ClipSet(tiny().dataset).split("train"), settings)
    direct = held_in_memory(settings)
    assert measured.mean == pytest.approx(direct.mean(), rel=1e-6)
    assert measured.std == pytest.approx(direct.std(), rel=1e-6)
    assert (measured.clips, measured.frames) == (32, 32 * length)


def test_padding_counts_as_zeros_and_its_share_is_told() -> None:
    measured = log_mel_statistics(ClipSet(tiny().dataset).split("train"), SETTINGS)
    direct = held_in_memory(SETTINGS)
    empty = (direct == 0).all(axis=2)
    assert 0.2 < empty.mean() < 0.5 and measured.padding == pytest.approx(empty.mean(), abs=1e-12)
    assert measured.mean > direct[~empty].mean() + 0.5, "zeros are louder than these clips"
    assert log_mel_statistics(ClipSet(tiny().dataset).split("train"), FbankSettings(16000, 128, 48)).padding == 0


def test_no_filter_bank_outlives_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_BATCH", 2)
    made: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    compute: Callable[..., Tensor] = statistics.fbank

    def watched(*given: object) -> Tensor:
        alive.append(sum(reference() is not None for reference in made))
        banks = compute(*given)
        made.append(weakref.ref(banks))
        return banks

    monkeypatch.setattr(statistics, "fbank", watched)
    log_mel_statistics(ClipSet(tiny().dataset).split("train"), SETTINGS)
    assert len(made) == 16 and max(alive) <= 1


@pytest.mark.parametrize("spread", [4.0, 1e-2, 1e-4, 1e-6])
def test_deviations_far_below_the_mean_are_exact(spread: float) -> None:
    """A running sum of squares is off by 2e-6 of the deviation at 1e-4, and by half of it at 1e-6."""
    rng = np.random.default_rng(0)
    values = rng.normal(-15.94, spread, (40, 1000))
    moments = _Moments()
    for rows in np.split(values, [7, 8, 25]):
        moments.add(torch.from_numpy(rows.copy()))
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.std == pytest.approx(values.std(), rel=1e-9)


@pytest.mark.parametrize(
    ("seconds", "patch", "frames"),
    [(0.01, 16, 16), (0.16, 16, 16), (0.27, 16, 16), (0.29, 16, 32), (10.0, 16, 992), (10.24, 16, 1024), (1.0, 8, 96)],
)
def test_a_length_in_whole_patches_drops_a_small_rest(seconds: float, patch: int, frames: int) -> None:
    assert whole_patches(seconds, patch) == frames
