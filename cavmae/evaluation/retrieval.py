"""Cross-modal retrieval: does a clip's sound find its own picture among all clips, and the other way round?

Gong et al. 2023, "Contrastive Audio-Visual Masked Autoencoder", section 4.3: cosine similarity of the pooled
representations, recall at 1, 5 and 10. N clips, D dimensions, R replicates.
"""

from collections.abc import Sequence

import numpy as np

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.bootstrap import interval, weight_blocks
from cavmae.evaluation.ranking import Array, FloatArray
from cavmae.evaluation.rivals import AUDIO_TO_VIDEO, BLOCK, VIDEO_TO_AUDIO, WAYS, Ranks, count_rivals, rank_both_ways
from cavmae.evaluation.vectors import Vectors

__all__ = ["AUDIO_TO_VIDEO", "VIDEO_TO_AUDIO", "WAYS", "Ranks", "count_rivals", "figures", "measure", "rank_clips", "retrieve"]
_DEPTHS = (1, 5, 10)
_WEIGHTS_AT_ONCE = 1 << 24  # of the bootstrap: bounds memory at a few hundred MB


def retrieve(
    audio: Array,
    video: Array,
    block: int = BLOCK,
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
    drawn: dict[str, list[dict[str, FloatArray]]] = {way: [] for way in ranks}
    for weight in weight_blocks(clips, replicates, seed, groups, max(1, _WEIGHTS_AT_ONCE // clips)):
        for way, one in ranks.items():
            drawn[way].append(_replicate(one, weight, official_ties))
    return {way: _estimate(one, official_ties) | _intervals(drawn[way], level) for way, one in ranks.items()}


def rank_clips(audio: Array, video: Array, block: int = BLOCK) -> dict[str, Ranks]:
    """Return {audio_to_video, video_to_audio: ranks} of `audio`, `video` [N, D], where row i of both is clip i.

    Memory is that of the vectors, once more in float32, and of a few [block, block] arrays. Raises InputError without clips,
    StepFailed for vectors that are not finite.
    """
    if audio.ndim != 2 or audio.shape != video.shape:
        raise ValueError(f"audio {audio.shape} and video {video.shape} must have one shape, [clips, dimensions]")
    if not len(audio):
        raise InputError("nothing to retrieve: the split holds no clip; add some with ingest")
    sides = Vectors(audio), Vectors(video)
    if not all(side.finite for side in sides):
        raise StepFailed("the model gave representations that are not finite; train it again with a lower lr")
    return rank_both_ways(*sides, block)


def figures(ranks: Ranks, weight: Array | None = None, level: float = 0.95, official_ties: bool = False) -> dict[str, float]:
    """Return {r1, r5, r10, median_rank, chance_r1} of one direction; `weight` [N, R] (`draw_weights`) adds `_low` and `_high`.

    Clips that tie with the right one share its places: R@k is the probability that the right one is among the first k
    when ties are broken by lot; the rank is the middle of the places. So a model that gives every clip the same vector
    scores exactly chance, 1/N, and not 1.

    `official_ties` counts as the original does: every place that ties with the right clip becomes an entry of its own, so
    that a query with t ties weighs t + 1 times in every figure, and `rank_entries`, the denominator, may exceed N.
    """
    return _estimate(ranks, official_ties) | _intervals(
        [] if weight is None else [_replicate(ranks, weight, official_ties)], level
    )


def _estimate(ranks: Ranks, official_ties: bool) -> dict[str, float]:
    once = _replicate(ranks, np.ones((len(ranks.better), 1)), official_ties)
    result = {name: float(values[0]) for name, values in once.items()} | {"chance_r1": 1 / len(ranks.better)}
    return result | {"rank_entries": int((ranks.tied + 1).sum())} if official_ties else result


def _replicate(ranks: Ranks, weight: Array, official_ties: bool) -> dict[str, FloatArray]:
    """Return {r1, r5, r10, median_rank}, each [R], where query n counts `weight` [N, R] times."""
    shared = ranks.tied + 1
    found = {}
    for depth in _DEPTHS:
        places = np.clip(depth - ranks.better, 0, shared)  # of the right clip among the first
        hits, entries = (places, shared) if official_ties else (places / shared, np.ones_like(shared))
        found[f"r{depth}"] = hits @ weight / (entries @ weight)
    found["median_rank"] = _median_entry(ranks, weight) if official_ties else _weighted_median(ranks.place, weight)
    return found


def _intervals(blocks: Sequence[dict[str, FloatArray]], level: float) -> dict[str, float]:
    """Return `<name>_low` and `<name>_high` of replicates that came in blocks; empty where there are none."""
    result = {}
    for name in blocks[0] if blocks else ():
        bounds = interval(np.concatenate([block[name] for block in blocks]), level)
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
