"""Clips to look at: where the model was most right and most wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cavmae.evaluation.ranking import Array
from cavmae.features.fbank import SHIFT_S, FbankSettings, fbank, to_float

_MELS = 64


@dataclass(frozen=True)
class Example:
    """One clip as the report shows it.

    `predictions` are (label, score 0..1), highest first; a dozen at most is readable. `frames` are JPEG files as
    bytes, or uint8 [F, H, W, 3]; `log_mel` is float [T, mel], lowest band first; `seconds` is the time its T rows span,
    for the axis; `waveform` is mono at `sample_rate` Hz, int16 or float in -1..1, and becomes a player.
    """

    video_id: str
    true_labels: Sequence[str]
    predictions: Sequence[tuple[str, float]]
    frames: Sequence[bytes] | Array
    log_mel: Array
    seconds: float
    waveform: Array | None = None
    sample_rate: int = 16_000


def choose_examples(target: Array, score: Array, count: int) -> tuple[list[int], list[int]]:
    """Return (best, worst), up to `count` row numbers of `target` and `score` [N, C] each, no clip in both.

    Clips are ranked by margin: the lowest score among their true labels minus the highest among the others. The best
    take one clip for each label before a second, lest they all show the one easy label; the worst are taken as they
    come, since what fails most is the news. Clips without a label are passed over.
    """
    true = target > 0
    lowest_true = np.where(true, score, np.inf).min(axis=1)
    highest_wrong = np.where(true, -np.inf, score).max(axis=1)
    # Every label true: there is no wrong one to compare with, and the score itself ranks the clip.
    margin = lowest_true - np.where(np.isfinite(highest_wrong), highest_wrong, 0)
    ranked = [int(n) for n in np.argsort(-margin, kind="stable") if true[n].any()]
    half = min(count, (len(ranked) + 1) // 2)
    worst = ranked[::-1][: min(count, len(ranked) - half)]
    rest = [n for n in ranked if n not in set(worst)]
    shown: dict[int, int] = {}
    turn: dict[int, int] = {}
    for n in rest:
        label = int(true[n].argmax())
        turn[n] = shown.get(label, 0)
        shown[label] = turn[n] + 1
    best = sorted(rest, key=lambda n: turn[n])[:half]  # a stable sort: by margin within a turn
    return best, worst


def log_mel_to_see(waveform: Array, sample_rate: int) -> tuple[Array, float]:
    """Return the log-mel [T, 64] of an int16 waveform [S], as long as the clip is, and the seconds that it spans."""
    length = max(1, (len(waveform) - int(sample_rate * 0.025)) // int(sample_rate * SHIFT_S) + 1)
    count = torch.tensor([len(waveform)])
    samples = to_float(torch.from_numpy(waveform.copy()).unsqueeze(0), count)
    return fbank(samples, count, FbankSettings(sample_rate, _MELS, length))[0].numpy(), length * SHIFT_S
