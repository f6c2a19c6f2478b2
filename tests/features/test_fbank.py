"""The batched filter bank against Kaldi's (as torchaudio computes it) and against the stored official spectrograms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cavmae.features import fbank as fbank_module
from cavmae.features.fbank import FbankSettings, fbank, to_float

SETTINGS = FbankSettings(sample_rate=16000, num_mel_bins=128, target_length=1024)


def kaldi(samples: torch.Tensor) -> torch.Tensor:
    from torchaudio.compliance.kaldi import fbank as reference

    return reference(
        samples.unsqueeze(0),
        htk_compat=True,
        sample_frequency=16000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )


def test_clips_of_different_lengths_in_one_batch_equal_kaldi_one_by_one() -> None:
    rng = np.random.default_rng(0)
    lengths = [160000, 33333, 400]
    batch = torch.zeros(3, 160000, dtype=torch.int16)
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.from_numpy(rng.integers(-9000, 9000, length).astype(np.int16))
    count = torch.tensor(lengths)
    got = fbank(to_float(batch, count), count, SETTINGS)
    assert got.shape == (3, 1024, 128)
    for row, length in enumerate(lengths):
        samples = batch[row, :length].float() / 32768
        want = kaldi(samples - samples.mean())
        # 2e-3 as for the stored ones: quiet bins near the floor amplify the rounding of another order of operations
        torch.testing.assert_close(got[row, : len(want)], want, atol=2e-3, rtol=0)
        assert not got[row, len(want) :].any()


@pytest.mark.gpu
def test_a_gpu_gives_the_same_spectrograms_whatever_precision_the_model_may_use() -> None:
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.integers(-9000, 9000, (70, 164_000)).astype(np.int16))
    count = torch.randint(300, 164_000, (70,), generator=torch.Generator().manual_seed(0))
    want = fbank(to_float(batch, count), count, SETTINGS)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        got = fbank(to_float(batch.cuda(), count.cuda()), count.cuda(), SETTINGS).cpu()
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.testing.assert_close(got, want, atol=2e-3, rtol=0)


def test_all_clips_at_once_as_on_a_gpu_equal_clips_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fbank_module, "_AT_ONCE", 2)
    rng = np.random.default_rng(1)
    lengths = torch.tensor([16_000, 399, 9_000, 20_000, 400])
    batch = torch.from_numpy(rng.integers(-9000, 9000, (5, 20_000)).astype(np.int16))
    for target in (110, 200):
        settings = FbankSettings(16000, 64, target)
        samples = to_float(batch.clone(), lengths)
        want = fbank(samples, lengths, settings)
        got = torch.zeros_like(want)
        fbank_module._fill_together(samples, fbank_module.frame_counts(lengths, settings), settings, got)
        torch.testing.assert_close(got, want, atol=2e-3, rtol=0)
        assert got[3].abs().sum() > 0 and not got[1].any()


def test_a_clip_shorter_than_one_frame_is_all_padding() -> None:
    count = torch.tensor([399])
    assert not fbank(torch.ones(1, 399), count, SETTINGS).any()


def test_a_long_clip_is_cut_at_the_target_length() -> None:
    count = torch.tensor([200_000])
    assert fbank(torch.rand(1, 200_000), count, SETTINGS).shape == (1, 1024, 128)


def test_official_spectrograms_of_real_clips_are_reproduced(golden: Path) -> None:
    # 2e-3: quiet bins near the logarithm's floor amplify the rounding of another FFT
    expected = load_file(golden / "pipeline" / "expected.safetensors")
    media = np.load(golden / "pipeline" / "sample_media.npz")
    checked = 0
    for key in (key for key in expected if key.endswith("fbank_raw")):
        video = key.split("/")[0]
        wav = next(media[name] for name in media.files if video in name and "wav" in name)
        count = torch.tensor([len(wav)])
        got = fbank(to_float(torch.from_numpy(wav).unsqueeze(0), count), count, SETTINGS)[0]
        torch.testing.assert_close(got, expected[key].reshape(1024, 128), atol=2e-3, rtol=0)
        checked += 1
    if not checked:
        pytest.fail("the golden file holds no raw spectrogram")
