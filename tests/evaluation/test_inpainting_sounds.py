"""The sounds of an inpainted clip: one length, one level, silence where patches are hidden."""

import numpy as np
import pytest
import torch

from cavmae.evaluation.inpainting import Inpainted
from cavmae.evaluation.inpainting_sounds import sounding_frames, sounds
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.models.folder import ModelConfig, read_config
from tests.training.tiny import tiny


def config() -> ModelConfig:
    return read_config(tiny().pretrained)


def clip(samples: int, amplitude: int = 4000) -> RawBatch:
    wave = np.random.default_rng(0).normal(0, amplitude, samples).clip(-32768, 32767).astype(np.int16)
    return RawBatch.collate([wave], [np.zeros((32, 32, 3), dtype=np.uint8)], config().fbank)


def result(raw: RawBatch, louder: float = 0.0) -> Inpainted:
    """The second quarter of the frames is hidden, and restored as it was plus `louder` standard deviations."""
    setting = config()
    audio = FrontEnd(setting.fbank, setting.normalisation.mean, setting.normalisation.std).audio(raw)[0]
    hidden = torch.zeros_like(audio, dtype=torch.bool)
    quarter = sounding_frames(raw, setting) // 4
    hidden[quarter : 2 * quarter] = True
    image = torch.zeros(3, 32, 32)
    return Inpainted(audio, audio + louder * hidden, hidden, image, image, image > 1, 0.0, 0.0)


def test_all_sounds_are_of_one_length_and_hidden_moments_are_silent() -> None:
    raw = clip(12000)
    heard, gain = sounds(result(raw), raw, config(), iterations=8, seed=0)
    assert list(heard) == ["original", "vocoded", "masked", "reconstructed"] and gain == 1.0
    assert np.array_equal(heard["original"], raw.waveform[0, :12000].numpy())
    frames = sounding_frames(raw, config())
    assert frames == 73 and {len(heard[name]) for name in ("vocoded", "masked", "reconstructed")} == {400 + 72 * 160}
    assert np.array_equal(heard["reconstructed"], heard["vocoded"])  # what is hidden was restored as it was
    middle = slice(22 * 160, 32 * 160)
    assert np.abs(heard["masked"][middle]).max() < 0.05 * np.abs(heard["vocoded"][middle]).max()
    levels = [float(heard[name].astype(float).std()) for name in ("original", "vocoded")]
    assert levels[1] == pytest.approx(levels[0], rel=0.1)


def test_padding_is_no_sound() -> None:
    setting = config()
    assert sounding_frames(clip(399), setting) == 0 and sounding_frames(clip(400), setting) == 1
    assert sounding_frames(clip(10**6), setting) == setting.fbank.target_length
    raw = clip(4000)
    assert len(sounds(result(raw), raw, setting, iterations=2, seed=0)[0]["vocoded"]) == 400 + 22 * 160


def test_sounds_that_are_too_loud_are_all_turned_down_alike() -> None:
    raw = clip(12000)
    heard, gain = sounds(result(raw, louder=2.0), raw, config(), iterations=8, seed=0)
    plain, _ = sounds(result(raw), raw, config(), iterations=8, seed=0)
    assert gain < 0.5 and np.abs(heard["reconstructed"].astype(int)).max() in (32766, 32767)
    assert np.array_equal(heard["original"], plain["original"])
    assert float(heard["vocoded"].astype(float).std() / plain["vocoded"].astype(float).std()) == pytest.approx(gain, rel=0.01)
