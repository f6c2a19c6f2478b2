"""The sound of a scene: a hum, a train of pulses, chirps or bursts of hiss over a noise floor."""

import numpy as np
from numpy.typing import NDArray

from cavmae.dataset.sample.scene import SOUND_STREAM, Scene

Waveform = NDArray[np.float64]

_LOWEST_HZ, _OCTAVES = 170.0, 2.7
_QUIETEST_DB, _LEVELS_DB = -40.0, 18.0  # RMS, relative to full scale
_FLOOR_DB = (-82.0, -52.0)  # RMS of the noise behind it


def play(scene: Scene, samples: int, sample_rate: int) -> NDArray[np.int16]:
    """Return the waveform [samples] of `scene`, one channel at `sample_rate` Hz."""
    random = scene.stream(SOUND_STREAM)
    facts = scene.heard
    t = np.arange(samples) / sample_rate  # seconds
    pitch_hz = _LOWEST_HZ * 2 ** (_OCTAVES * facts.pitch)
    tempo_hz = random.uniform(3.5, 6.5)
    start = random.uniform(0, 1)  # of a beat
    middle = random.uniform(0.15, 0.85)  # of the clip: when the sound swells
    floor_db = random.uniform(*_FLOOR_DB)

    wave = _kind(scene.sound, random, t, pitch_hz, tempo_hz * t + start, sample_rate)
    swell = np.exp(-0.5 * ((np.arange(samples) / samples - middle) / 0.22) ** 2)
    wave *= 0.15 + 0.85 * swell
    wave *= 10 ** ((_QUIETEST_DB + _LEVELS_DB * facts.level) / 20) / np.sqrt(np.mean(wave**2))
    wave += 10 ** (floor_db / 20) * random.standard_normal(samples)
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


def _kind(kind: str, random: np.random.Generator, t: Waveform, pitch_hz: float, beats: Waveform, sample_rate: int) -> Waveform:
    """Return the bare sound at any level; `beats` [samples] counts the beats since the start."""
    beat = beats % 1.0  # 0 at the onset of each beat, 1 at its end
    if kind == "hum":
        vibrato = random.uniform(0.004, 0.012) * np.sin(2 * np.pi * random.uniform(4, 6) * t)
        return _harmonics(random, np.full_like(t, pitch_hz) * (1 + vibrato), sample_rate)
    if kind == "pulse":
        return _harmonics(random, np.full_like(t, pitch_hz), sample_rate) * _strike(beat, 7.0)
    if kind == "chirp":
        octaves = random.uniform(1.2, 1.6)
        return _harmonics(random, pitch_hz * 2 ** (octaves * (beat - 0.5)), sample_rate) * np.sin(np.pi * beat) ** 0.5
    if kind == "hiss":
        return _band_noise(random, len(t), 3 * pitch_hz, sample_rate) * _strike(beat, 4.0)
    raise ValueError(f"no sound is called {kind!r}")


def _harmonics(random: np.random.Generator, frequency_hz: Waveform, sample_rate: int) -> Waveform:
    """Return harmonics 1 to 6 of a tone of the given frequency [samples], none above 0.45 of the sample rate."""
    phase = 2 * np.pi * np.cumsum(frequency_hz) / sample_rate
    slope = random.uniform(0.8, 1.4)
    top = float(frequency_hz.max())
    wave = np.zeros_like(phase)
    for harmonic in range(1, 7):
        if harmonic * top < 0.45 * sample_rate:
            wave += np.sin(harmonic * phase + random.uniform(0, 2 * np.pi)) / harmonic**slope
    return wave


def _strike(beat: Waveform, decay: float) -> Waveform:
    """Return the envelope of a struck sound: up in a twentieth of a beat, then falling by e for each 1 / decay."""
    return np.minimum(beat / 0.05, 1.0) * np.exp(-decay * beat)


def _band_noise(random: np.random.Generator, samples: int, centre_hz: float, sample_rate: int) -> Waveform:
    """Return noise of about an octave around `centre_hz`, shaped in the frequency domain."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    frequency_hz = np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate), 1.0)
    spectrum *= np.exp(-0.5 * (np.log2(frequency_hz / centre_hz) / 0.4) ** 2)
    return np.asarray(np.fft.irfft(spectrum, samples))
