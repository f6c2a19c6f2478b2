"""Spectrograms turned back to sound: level, place in time and spectrum are those of the sound they came from."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cavmae.features.fbank import FLOOR, FbankSettings, fbank, mel_banks, to_float
from cavmae.features.griffin_lim import fitting_gain, to_int16, waveform_from_log_mel
from cavmae.features.mel_inversion import power_from_log_mel
from cavmae.media.clip import ClipSettings
from cavmae.media.decode import read_clip

SETTINGS = FbankSettings(16000, 128, 1024)


def speech_like(rate: int, seconds: float = 1.5) -> np.ndarray:
    """int16: a gliding voice of many harmonics in syllables, with a breath of noise between."""
    rng = np.random.default_rng(0)
    time = np.arange(round(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 1.3 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, int(rate / 2 / 200)))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None)
    return np.round(5000 * voice * syllables + 150 * rng.standard_normal(len(time))).astype(np.int16)


def log_mel_of(wave: np.ndarray, settings: FbankSettings) -> torch.Tensor:
    """Log-mel [T, M] of the whole frames of an int16 waveform."""
    lengths = torch.tensor([len(wave)])
    mel = fbank(to_float(torch.from_numpy(wave.copy()).unsqueeze(0), lengths), lengths, settings)[0]
    return mel[: (min(len(wave), settings.max_samples) - settings.window) // settings.shift + 1]


def differences(wave: np.ndarray, settings: FbankSettings, iterations: int) -> tuple[float, float, float, float]:
    """Of sound to log-mel to sound: correlation and mean difference of the log-mels, spectral convergence, ratio of levels."""
    log_mel = log_mel_of(wave, settings)
    samples = waveform_from_log_mel(log_mel, settings, iterations, seed=0)
    assert len(samples) == settings.window + (len(log_mel) - 1) * settings.shift
    again = log_mel_of(to_int16(samples), settings)
    covering = mel_banks(settings, torch.device("cpu")).sum(dim=0) > 0
    pair = again[:, covering].flatten(), log_mel[:, covering].flatten()
    magnitude = power_from_log_mel(log_mel, settings).sqrt()
    made = power_from_log_mel(again, settings).sqrt()
    return (
        float(np.corrcoef(*pair)[0, 1]),
        float((pair[0] - pair[1]).abs().mean()),
        float((made - magnitude).norm() / magnitude.norm()),
        float(samples.std() / torch.from_numpy(wave / 32768.0).std()),
    )


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        FbankSettings(16000, 64, 1024),
        FbankSettings(8000, 40, 1024),
        FbankSettings(22050, 80, 1024),  # a window of 551 samples: odd
        FbankSettings(44100, 128, 1024),
    ],
    ids=str,
)
def test_sound_made_from_a_spectrogram_has_that_spectrogram_and_its_level(settings: FbankSettings) -> None:
    correlation, difference, convergence, level = differences(speech_like(settings.sample_rate), settings, 64)
    # measured: 0.998 to 0.999, 0.05 to 0.10, 0.02 to 0.04, 1.00 to 1.02
    assert correlation > 0.995
    assert difference < 0.15
    assert convergence < 0.07
    assert 0.95 < level < 1.05


def test_more_rounds_come_closer() -> None:
    wave = speech_like(16000)
    assert differences(wave, SETTINGS, 64)[1] < 0.7 * differences(wave, SETTINGS, 4)[1]


@pytest.mark.parametrize("at", [4000, 12345])
def test_a_click_stays_where_it_was(at: int) -> None:
    wave = np.zeros(20000, dtype=np.int16)
    wave[at : at + 8] = 20000
    samples = waveform_from_log_mel(log_mel_of(wave, SETTINGS), SETTINGS, 32, seed=0).numpy()
    centre = np.average(np.arange(len(samples)), weights=samples**2)
    assert abs(centre - at) < 80  # half a frame's shift


def test_beginning_and_end_are_as_loud_as_the_middle() -> None:
    wave = np.random.default_rng(0).normal(0, 3000, 16000).astype(np.int16)
    samples = waveform_from_log_mel(log_mel_of(wave, SETTINGS), SETTINGS, 32, seed=0)
    level = samples.std()
    assert 0.7 < samples[:80].std() / level < 1.4 and 0.7 < samples[-80:].std() / level < 1.4


def test_a_steady_spectrum_does_not_hum_at_the_frame_rate() -> None:
    noise = np.random.default_rng(0).normal(0, 3000, 32000).astype(np.int16)
    steady = log_mel_of(noise, SETTINGS).mean(dim=0, keepdim=True).expand(190, -1)
    samples = waveform_from_log_mel(steady, SETTINGS, 32, seed=0).numpy()
    assert abs(np.corrcoef(samples[:-160], samples[160:])[0, 1]) < 0.3  # 0.9 with phases that begin at 0


def test_the_same_seed_gives_the_same_samples_and_torch_draws_on_as_before() -> None:
    log_mel = log_mel_of(speech_like(16000, 0.5), SETTINGS)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = waveform_from_log_mel(log_mel, SETTINGS, 8, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(waveform_from_log_mel(log_mel, SETTINGS, 8, seed=1), first)
    assert not torch.equal(waveform_from_log_mel(log_mel, SETTINGS, 8, seed=2), first)


def test_one_frame_is_enough_and_none_is_refused() -> None:
    wave = speech_like(16000)[3000:3400]
    assert len(waveform_from_log_mel(log_mel_of(wave, SETTINGS), SETTINGS, 4, seed=0)) == 400
    with pytest.raises(ValueError, match="no frame"):
        waveform_from_log_mel(torch.zeros(0, 128), SETTINGS, 4, seed=0)


def test_silence_stays_silent() -> None:
    samples = waveform_from_log_mel(torch.full((30, 128), math.log(FLOOR)), SETTINGS, 4, seed=0)
    assert not to_int16(samples).any()


def test_a_gain_fits_the_loudest_of_several_sounds_into_16_bits() -> None:
    quiet, loud = torch.tensor([0.25, -0.5]), torch.tensor([1.0, -2.0])
    assert fitting_gain([quiet]) == 1.0 and fitting_gain([torch.zeros(3)]) == 1.0 and fitting_gain([]) == 1.0
    gain = fitting_gain([quiet, loud])
    assert to_int16(loud, gain).tolist() == [16384, -32767]
    assert to_int16(quiet).tolist() == [8192, -16384]
    assert to_int16(loud).tolist() == [32767, -32768]  # clipped, not wrapped


@pytest.mark.media
@pytest.mark.parametrize("label", ["human_voice", "music_melodic", "water_nature", "tool_impact"])
def test_real_clips_survive_the_way_there_and_back(shared: Path, label: str) -> None:
    manifest = (shared / "media" / "av" / "manifest.csv").read_text(encoding="utf-8").splitlines()
    row = next(line.split(",") for line in manifest if f",event,{label}," in line)
    settings = ClipSettings(10, 64, 16000, "exact", 0.1, -math.inf, 8192 * 8192)
    wave = read_clip(shared / "media" / "av" / row[1], 0, 10, settings).waveform
    correlation, difference, convergence, level = differences(wave, SETTINGS, 64)
    assert correlation > 0.98 and difference < 0.2 and convergence < 0.1 and 0.95 < level < 1.05
