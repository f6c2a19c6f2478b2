"""Cross-modal retrieval: does a clip's sound find its own picture among all clips, and the other way round?

Gong et al. 2023, "Contrastive Audio-Visual Masked Autoencoder", section 4.3: cosine similarity of the pooled
representations, recall at 1, 5 and 10. N clips, D dimensions, R replicates.
"""

from typing import NamedTuple

import numpy as np

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.bootstrap import draw_weights, interval
from cavmae.evaluation.ranking import Array, FloatArray

AUDIO_TO_VIDEO, VIDEO_TO_AUDIO = WAYS = ("audio_to_video", "video_to_audio")
_DEPTHS = (1, 5, 10)
_TIE = 1e-9  # far above the rounding of a float64 product, far below the spacing of float32 embeddings' cosines


class Ranks(NamedTuple):
    """For every query, how many other clips are more similar to it than the right one, and how many as similar: int64 [N]."""

    better: Array
    tied: Array

    @property
    def place(self) -> FloatArray:
        """The rank [N] of the right clip, from 1; the middle of the places that it shares with those that tie."""
        return np.asarray(1 + self.better + self.tied / 2, np.float64)


def retrieve(
    audio: Array,
    video: Array,
    block: int = 4096,
    replicates: int = 0,
    seed: int = 0,
    level: float = 0.95,
    groups: Array | None = None,
) -> dict[str, dict[str, float]]:
    """Return {audio_to_video, video_to_audio: {r1, r5, r10, median_rank, chance_r1}} of `audio`, `video` [N, D].

    As `rank_clips` and `measure`, which see. Raises InputError without clips, StepFailed for vectors that are not finite.
    """
    return measure(rank_clips(audio, video, block), replicates, seed, level, groups)


def measure(
    ranks: dict[str, Ranks],
    replicates: int = 0,
    seed: int = 0,
    level: float = 0.95,
    groups: Array | None = None,
    official_ties: bool = False,
) -> dict[str, dict[str, float]]:
    """Return the `figures` of every direction of `ranks`.

    With `replicates` > 0 every number but chance comes with `_low` and `_high`, from a bootstrap over queries (or `groups`
    [N] of them) in one gallery.
    """
    clips = len(next(iter(ranks.values())).better)
    weight = draw_weights(clips, replicates, seed, groups) if replicates else None
    return {way: figures(one, weight, level, official_ties) for way, one in ranks.items()}


def rank_clips(audio: Array, video: Array, block: int = 4096) -> dict[str, Ranks]:
    """Return {audio_to_video, video_to_audio: ranks} of `audio`, `video` [N, D], where row i of both is clip i.

    Memory is that of a few [block, block] arrays. Raises InputError without clips, StepFailed for vectors that are not finite.
    """
    if audio.ndim != 2 or audio.shape != video.shape:
        raise ValueError(f"audio {audio.shape} and video {video.shape} must have one shape, [clips, dimensions]")
    if not len(audio):
        raise InputError("nothing to retrieve: the split holds no clip; add some with ingest")
    return count_rivals(unit(audio), unit(video), block)


def unit(vectors: Array) -> FloatArray:
    """Return `vectors` [N, D] at length 1 in float64; raises StepFailed where they are not finite.

    A zero vector stays zero: it is equally near to every clip, hence at chance.
    """
    vectors = vectors.astype(np.float64)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norm).all():
        raise StepFailed("the model gave representations that are not finite; train it again with a lower lr")
    return np.asarray(vectors / np.where(norm > 0, norm, 1), np.float64)


def count_rivals(audio: FloatArray, video: FloatArray, block: int = 4096) -> dict[str, Ranks]:
    """Return the ranks both ways under the similarity audio @ video.T, of which one block at a time is held.

    One product serves both directions: rows of similarity are audio queries, columns video queries.
    """
    clips = len(audio)
    own = np.einsum("nd,nd->n", audio, video)
    better, not_worse = np.zeros((2, clips), np.int64), np.zeros((2, clips), np.int64)
    for top in range(0, clips, block):
        rows = slice(top, top + block)
        for left in range(0, clips, block):
            columns = slice(left, left + block)
            similarity = audio[rows] @ video[columns].T
            for side, (query, axis, right) in enumerate(((rows, 1, own[rows, None]), (columns, 0, own[None, columns]))):
                better[side, query] += np.count_nonzero(similarity > right + _TIE, axis=axis)
                not_worse[side, query] += np.count_nonzero(similarity >= right - _TIE, axis=axis)
    # the right clip is as similar as itself
    return {way: Ranks(better[side], not_worse[side] - better[side] - 1) for side, way in enumerate(WAYS)}


def figures(ranks: Ranks, weight: Array | None = None, level: float = 0.95, official_ties: bool = False) -> dict[str, float]:
    """Return {r1, r5, r10, median_rank, chance_r1} of one direction; `weight` [N, R] (`draw_weights`) adds `_low` and `_high`.

    Clips that tie with the right one share its places: R@k is the probability that the right one is among the first k
    when ties are broken by lot; the rank is the middle of the places. So a model that gives every clip the same vector
    scores exactly chance, 1/N, and not 1.

    `official_ties` counts as the original does: every place that ties with the right clip becomes an entry of its own, so
    that a query with t ties weighs t + 1 times in every figure, and `rank_entries`, the denominator, may exceed N.
    """
    better, shared = ranks.better, ranks.tied + 1
    within = {f"r{depth}": np.clip(depth - better, 0, shared) for depth in _DEPTHS}  # places of the right clip among the first
    entries = shared if official_ties else np.ones_like(shared)
    hit = within if official_ties else {name: places / shared for name, places in within.items()}
    result = {name: float(values.sum() / entries.sum()) for name, values in hit.items()}
    once = np.ones((len(better), 1))
    result["median_rank"] = float((_median_entry(ranks, once) if official_ties else _weighted_median(ranks.place, once))[0])
    result["chance_r1"] = 1 / len(better)
    if official_ties:
        result["rank_entries"] = int(entries.sum())
    if weight is not None:
        many = {name: values @ weight / (entries @ weight) for name, values in hit.items()}
        many["median_rank"] = _median_entry(ranks, weight) if official_ties else _weighted_median(ranks.place, weight)
        for name, values in many.items():
            bounds = interval(values, level)
            if bounds is not None:
                result[f"{name}_low"], result[f"{name}_high"] = bounds
    return result


def _weighted_median(values: Array, weight: Array) -> FloatArray:
    """Return the median [R] of `values` [N], each counted `weight` [N, R] whole times."""
    order = np.argsort(values, kind="stable")
    low, high = _middle(np.cumsum(weight[order], axis=0, dtype=np.float64))
    return np.asarray((values[order][low] + values[order][high]) / 2, np.float64)


def _median_entry(ranks: Ranks, weight: Array) -> FloatArray:
    """Return the median [R] over all places, from 1, of all queries: those of query n are counted `weight` [N, R] times."""
    begins_NR = np.zeros((len(weight) + 1, weight.shape[1]))
    np.add.at(begins_NR, ranks.better, weight)
    np.subtract.at(begins_NR, ranks.better + ranks.tied + 1, weight)
    low, high = _middle(np.cumsum(np.cumsum(begins_NR[:-1], axis=0), axis=0))
    return np.asarray((low + high) / 2 + 1, np.float64)


def _middle(reached_NR: FloatArray) -> tuple[Array, Array]:
    """Return the two rows [R] that hold the middle of as many things as `reached_NR` counts up to each row; equal if odd."""
    total_R = reached_NR[-1]
    return (reached_NR > (total_R - 1) // 2).argmax(axis=0), (reached_NR > total_R // 2).argmax(axis=0)
