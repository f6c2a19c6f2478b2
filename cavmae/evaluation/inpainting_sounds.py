"""What an inpainted clip sounds like: its own sound, and the three spectrograms of the figure turned back to sound."""

import math

import numpy as np
from numpy.typing import NDArray

from cavmae.evaluation.inpainting import Inpainted
from cavmae.features.fbank import FLOOR
from cavmae.features.front_end import RawBatch
from cavmae.features.griffin_lim import fitting_gain, to_int16, waveform_from_log_mel
from cavmae.models.folder import ModelConfig


def sounding_frames(raw: RawBatch, config: ModelConfig) -> int:
    """Number of spectrogram frames of a batch of one that hold sound; those behind them are padding."""
    settings = config.fbank
    return min(max(0, (int(raw.lengths[0]) - settings.window) // settings.shift + 1), settings.target_length)


def sounds(
    result: Inpainted, raw: RawBatch, config: ModelConfig, iterations: int, seed: int
) -> tuple[dict[str, NDArray[np.int16]], float]:
    """Return the sounds by name, int16 [S] at the model's rate, and the gain of those that are made from spectrograms.

    `original` is the clip itself. `vocoded` is its whole spectrogram turned back to sound: the best that the other two can
    be. In `masked` hidden patches are silent, in `reconstructed` they are the model's. Griffin-Lim starts from the same
    phases each time, so that what is heard to differ is what the mask and the model did; these three are at the clip's
    level, or where one of them would exceed full scale all softer by the same gain, below 1.
    """
    frames = sounding_frames(raw, config)
    log_mels = {
        name: audio[:frames] * config.normalisation.std + config.normalisation.mean
        for name, audio in (("vocoded", result.audio), ("masked", result.audio), ("reconstructed", result.audio_restored))
    }
    log_mels["masked"] = log_mels["masked"].masked_fill(result.hidden_a[:frames], math.log(FLOOR))
    made = {name: waveform_from_log_mel(log_mel, config.fbank, iterations, seed) for name, log_mel in log_mels.items()}
    gain = fitting_gain(list(made.values()))
    original = raw.waveform[0, : int(raw.lengths[0])].cpu().numpy()
    return {"original": original, **{name: to_int16(samples, gain) for name, samples in made.items()}}, gain
