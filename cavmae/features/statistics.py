"""Mean and standard deviation of the log-mel spectrograms of a set of clips, in one pass."""

from collections.abc import Sequence

import numpy as np

from cavmae.dataset.loader import ClipRecord, Prefetch
from cavmae.dataset.records import decode_waveform
from cavmae.features.fbank import FbankSettings, fbank, to_float
from cavmae.features.front_end import RawBatch

_BATCH = 64
_NO_PICTURE = np.zeros((1, 1, 3), dtype=np.uint8)


def log_mel_statistics(clips: Sequence[ClipRecord], settings: FbankSettings) -> tuple[float, float]:
    """Return mean and (population) standard deviation over all bins and frames, the padding of short clips included.

    The padding counts because it reaches the model too; the original's statistics include it.
    """

    def make(indices: Sequence[int]) -> RawBatch:
        waveforms = [decode_waveform(clips[index].members()) for index in indices]
        return RawBatch.collate(waveforms, [_NO_PICTURE] * len(waveforms), settings)

    slices = [range(at, min(at + _BATCH, len(clips))) for at in range(0, len(clips), _BATCH)]
    total = squares = 0.0
    count = 0
    for raw in Prefetch(slices, make):
        mel = fbank(to_float(raw.waveform, raw.lengths), raw.lengths, settings).double()
        total += float(mel.sum())
        squares += float(mel.square().sum())
        count += mel.numel()
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean * mean, 0.0)))
