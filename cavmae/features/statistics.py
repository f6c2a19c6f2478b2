"""Mean and standard deviation of the log-mel spectrograms of a set of clips, in one pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cavmae.dataset.loader import ClipRecord, Prefetch, read_clips
from cavmae.dataset.records import decode_waveform
from cavmae.features.fbank import SHIFT_S, FbankSettings, fbank, to_float
from cavmae.features.front_end import RawBatch
from cavmae.progress import Progress

PATCH = 16  # frames of a spectrogram patch in the published models, and by default
_BATCH = 64
_NO_PICTURE = np.zeros((1, 1, 3), dtype=np.uint8)
# audio beyond the last whole patch is dropped where it fills less than this share of another one
_MOST_OF_A_PATCH = 0.75


@dataclass(frozen=True)
class LogMelStatistics:
    """What was measured; `std` is that of the population, `padding` the share of `frames` that lie behind a clip's end."""

    mean: float
    std: float
    clips: int
    frames: int
    padding: float


def whole_patches(seconds: float, patch: int = PATCH) -> int:
    """Return how many spectrogram frames, in whole patches, a clip of that length fills: at least one patch."""
    return max(patch, math.ceil(seconds / SHIFT_S / patch - _MOST_OF_A_PATCH) * patch)


def log_mel_statistics(clips: Sequence[ClipRecord], settings: FbankSettings) -> LogMelStatistics:
    """Measure all bins and frames of some clips, the padding of short clips included; one batch at a time is in memory.

    The padding counts because it reaches the model too; the original's statistics include it. Batches are merged by their
    means and squared distances (Chan, Golub & LeVeque 1983): a running sum of squares is as good for AudioSet's spread,
    but loses all digits of the deviation where nearly everything is silence. Shows its progress.
    """

    def make(indices: Sequence[int]) -> RawBatch:
        waveforms = [decode_waveform(members) for members in read_clips([clips[index] for index in indices])]
        return RawBatch.collate(waveforms, [_NO_PICTURE] * len(waveforms), settings)

    slices = [range(at, min(at + _BATCH, len(clips))) for at in range(0, len(clips), _BATCH)]
    moments = _Moments()
    sounding = 0
    with Progress("log-mel statistics", len(clips)) as progress:
        for raw in Prefetch(slices, make):
            moments.add(fbank(to_float(raw.waveform, raw.lengths), raw.lengths, settings))
            sounding += int(((raw.lengths - settings.window) // settings.shift + 1).clamp(0, settings.target_length).sum())
            progress.advance(len(raw.lengths))
    frames = len(clips) * settings.target_length
    return LogMelStatistics(moments.mean, moments.std, len(clips), frames, 1 - sounding / max(frames, 1))


class _Moments:
    """Count, mean, and sum of squared distances from it, of all that was added."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        """Take in a batch of any shape, in float64."""
        batch = values.double()
        size, mean = batch.numel(), float(batch.mean())
        distance, total = mean - self.mean, self.count + size
        self._squares += float(batch.sub_(mean).square_().sum()) + distance**2 * self.count * size / total
        self.mean += distance * size / total
        self.count = total

    @property
    def std(self) -> float:
        """Standard deviation of the population."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0
