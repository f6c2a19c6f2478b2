"""Pictures, mixup and augmentation against pipeline/expected.*: what the official data loader computes.

Pictures come from stored decoded JPEGs and see three float32 operations: 1e-6. Log-mel gets 2e-3, because quiet bins near the
logarithm's floor amplify the rounding of another FFT (golden README); augmentation of a stored spectrogram needs no FFT: 1e-6.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from cavmae.dataset.records import resize_and_crop
from cavmae.features.augment import Draws, add_noise_and_roll, mask_spectrogram
from cavmae.features.fbank import FbankSettings, fbank, to_float
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.images import denormalise_images, normalise_images
from cavmae.features.mixup import mix_images, smooth_and_mix

SETTINGS = FbankSettings(16000, 128, 1024)
FIRST, SECOND = "KlsG1EnBEjc_000361", "00W1lcxW-WU_40.000"
MEAN, STD = -5.081, 4.4849


class Pipeline:
    def __init__(self, golden: Path) -> None:
        self.facts: dict[str, Any] = json.loads((golden / "pipeline" / "expected.json").read_text())
        self.expected = load_file(golden / "pipeline" / "expected.safetensors")
        self.media = np.load(golden / "pipeline" / "sample_media.npz")

    def picture(self, video: str) -> Tensor:
        return normalise_images(torch.from_numpy(self.media[f"jpeg_decoded/{video}/5"]).unsqueeze(0))


@pytest.fixture(scope="module")
def want(golden: Path) -> Pipeline:
    return Pipeline(golden)


def batch(*waves: np.ndarray) -> RawBatch:
    return RawBatch.collate(list(waves), [np.zeros((2, 2, 3), np.uint8)] * len(waves), SETTINGS)


def test_pictures_are_normalised_as_the_original_does_it(want: Pipeline) -> None:
    torch.testing.assert_close(want.picture(FIRST)[0], want.expected[f"{FIRST}/image"], atol=1e-6, rtol=0)
    torch.testing.assert_close(want.picture(SECOND)[0, :, ::4, ::4], want.expected[f"{SECOND}/image_strided"], atol=1e-6, rtol=0)


def test_denormalised_pictures_are_the_pictures_again(want: Pipeline) -> None:
    picture = torch.from_numpy(want.media[f"jpeg_decoded/{FIRST}/5"]).unsqueeze(0)
    assert torch.equal(denormalise_images(normalise_images(picture)), picture)


@pytest.mark.parametrize(
    ("name", "seed", "height", "width"),
    [
        ("up_60x81", "pipe/pic", 60, 81),
        ("down_240x320", "pipe/big", 240, 320),
    ],
)
def test_other_sizes_are_resized_and_cropped_as_the_original_does_it(
    want: Pipeline, formula: ModuleType, name: str, seed: str, height: int, width: int
) -> None:
    pixels = (formula.raw24(seed, height * width * 3) >> np.uint64(16)).astype(np.uint8).reshape(height, width, 3)
    picture = torch.from_numpy(np.asarray(resize_and_crop(Image.fromarray(pixels), 224)).copy()).unsqueeze(0)
    got = normalise_images(picture)[0, :, ::8, ::8]
    torch.testing.assert_close(got, want.expected[f"transform/{name}_strided"], atol=1e-6, rtol=0)


def test_a_normalised_spectrogram_has_the_official_values_and_padding(want: Pipeline) -> None:
    for video in (FIRST, SECOND):
        got = FrontEnd(SETTINGS, MEAN, STD).audio(batch(want.media[f"wav/{video}"]))[0]
        torch.testing.assert_close(got[::16], want.expected[f"{video}/fbank_normalised_strided"], atol=2e-3, rtol=0)
        facts = want.facts[video]
        padding = got[facts["n_frames_before_pad"] :]
        assert len(padding) == facts["pad_rows"]
        torch.testing.assert_close(padding, torch.full_like(padding, facts["normalised_pad_value"]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "samples"), [("noise_3s", 48000), ("noise_12s", 192000), ("silence_1s", 16000)])
def test_synthetic_waves_of_other_lengths_match(want: Pipeline, formula: ModuleType, name: str, samples: int) -> None:
    wave = np.zeros(samples, np.int16)
    if name != "silence_1s":
        wave = np.round(formula.inp(f"pipe/{name}", (samples,), 0.3).astype(np.float64) * 32767).astype(np.int16)
    raw = batch(wave)
    got = fbank(to_float(raw.waveform, raw.lengths), raw.lengths, SETTINGS)[0, ::8]
    # the length cut to what reaches the spectrogram leaves another mean to remove from a longer clip
    tolerance = 2e-3 if samples <= SETTINGS.max_samples else 2e-2
    torch.testing.assert_close(got, want.expected[f"syn/{name}/fbank_raw_strided"], atol=tolerance, rtol=0)


def test_masks_and_roll_at_the_official_draws_give_the_official_spectrogram(want: Pipeline) -> None:
    drawn = want.facts["augment_seed7_draws"]
    draws = Draws(
        freq_width=np.array([drawn["freq_width"]]),
        freq_start=np.array([drawn["freq_start"]]),
        time_width=np.array([drawn["time_width"]]),
        time_start=np.array([drawn["time_start"]]),
        noise_amplitude=np.array([0.0]),  # added below: the original draws it with torch, after four other numbers
        noise_seed=np.array([0]),
        roll=np.array([drawn["roll"]]),
    )
    torch.manual_seed(7)
    torch.rand(4)
    noise = torch.rand(1, 1024, 128) * drawn["noise_amplitude"]
    mel = mask_spectrogram(want.expected[f"{FIRST}/fbank_raw"].unsqueeze(0), draws)
    got = add_noise_and_roll((mel - MEAN) / STD + noise, draws)[0]
    torch.testing.assert_close(got[::16], want.expected["augment/seed7_fbank_strided"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("key", "pair"), [("0_1", (FIRST, SECOND)), ("1_0", (SECOND, FIRST))])
def test_mixed_waveforms_have_the_official_spectrogram(want: Pipeline, key: str, pair: tuple[str, str]) -> None:
    own, partner = (batch(want.media[f"wav/{video}"]) for video in pair)
    got = FrontEnd(SETTINGS, 0.0, 1.0).audio(own, None, partner, torch.tensor([0.3]))[0, ::16]
    torch.testing.assert_close(got, want.expected[f"mixup/fbank_raw_{key}_lam0.3_strided"], atol=2e-3, rtol=0)


def test_mixed_pictures_match(want: Pipeline) -> None:
    mixed = mix_images(want.picture(FIRST), want.picture(SECOND), torch.tensor([0.3]))[0, :, ::8, ::8]
    torch.testing.assert_close(mixed, want.expected["mixup/image_0_1_lam0.3_strided"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_labels_of_a_clip_that_is_not_mixed_match_with_the_flag(want: Pipeline, smoothing: float) -> None:
    facts = want.facts["plain_labels"][f"label_smooth={smoothing}"]
    place = want.facts["mixup_labels"][f"label_smooth={smoothing}"]["index_of"]
    own = torch.zeros(1, 527)
    listed = [name for name, value in facts["values"].items() if value > 0.5]
    own[0, [place[name] for name in listed]] = 1
    official, ours = (smooth_and_mix(own, own, torch.ones(1), smoothing, flag)[0] for flag in (True, False))
    for name, value in facts["values"].items():
        assert official[place[name]].item() == pytest.approx(value, abs=1e-7), name
        part = smoothing / 527 if name in listed else 0.0
        assert ours[place[name]].item() == pytest.approx(value + part, abs=1e-6), name
    assert official[5].item() == pytest.approx(facts["background"], abs=1e-9) == ours[5].item()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixed_and_smoothed_labels_match(want: Pipeline, smoothing: float) -> None:
    facts = want.facts["mixup_labels"][f"label_smooth={smoothing}"]
    place = facts["index_of"]
    own, partner = torch.zeros(1, 527), torch.zeros(1, 527)
    for name in facts["labels_of_sample0"].split(","):
        own[0, place[name]] = 1
    for name in facts["labels_of_sample1"].split(","):
        partner[0, place[name]] = 1
    got = smooth_and_mix(own, partner, torch.tensor([facts["lam"]]), smoothing)[0]
    for name, value in facts["values"].items():
        assert got[place[name]].item() == pytest.approx(value, abs=1e-6), name
    assert got[5].item() == pytest.approx(facts["background"], abs=1e-9)
    assert got.sum().item() == pytest.approx(facts["sum"], abs=1e-5)
