"""The batched filter bank against Kaldi's (as torchaudio computes it) and against the stored official spectrograms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

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
