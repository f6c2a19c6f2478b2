"""Cross-modal retrieval: does a clip's sound find its own picture among all clips, and the other way round?

Gong et al. 2023, "Contrastive Audio-Visual Masked Autoencoder", section 4.3: cosine similarity of the pooled
representations, recall at 1, 5 and 10. N clips, D dimensions.
"""

import numpy as np

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.bootstrap import draw_weights, interval
from cavmae.evaluation.ranking import Array, FloatArray

_DEPTHS = (1, 5, 10)
_TIE = 1e-9  # far above the rounding of a float64 product, far below the spacing of float32 embeddings' cosines


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

    Row i of both is clip i. Memory is that of a few [block, block] arrays. With `replicates` > 0 every number but
    chance comes with `_low` and `_high`, from a bootstrap over queries (or `groups` [N] of them) in one gallery.

    Clips that tie with the right one share its places: R@k is the probability that the right one is among the first k
    when ties are broken by lot; the rank is the middle of the places. So a model that gives every clip the same vector
    scores exactly chance, 1/N, and not 1. Raises InputError without clips, StepFailed for vectors that are not finite.
    """
    if audio.ndim != 2 or audio.shape != video.shape:
        raise ValueError(f"audio {audio.shape} and video {video.shape} must have one shape, [clips, dimensions]")
    if not len(audio):
        raise InputError("nothing to retrieve: the split holds no clip; add some with ingest")
    better, tied = _count_rivals(_unit(audio), _unit(video), block)
    weight = draw_weights(len(audio), replicates, seed, groups) if replicates else None
    return {
        name: _summary(better[:, side], tied[:, side], weight, level)
        for side, name in enumerate(("audio_to_video", "video_to_audio"))
    }


def _unit(vectors: Array) -> FloatArray:
    vectors = vectors.astype(np.float64)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norm).all():
        raise StepFailed("the model gave representations that are not finite; train it again with a lower lr")
    # A zero vector stays zero: it is equally near to every clip, hence at chance.
    return np.asarray(vectors / np.where(norm > 0, norm, 1), np.float64)


def _count_rivals(audio: FloatArray, video: FloatArray, block: int) -> tuple[Array, Array]:
    """Return (better, tied), int64 [N, 2]: how many other clips are more, and as, similar; column 0 for audio queries.

    One product serves both directions: rows of similarity are audio queries, columns video queries.
    """
    clips = len(audio)
    own = np.einsum("nd,nd->n", audio, video)
    better, not_worse = np.zeros((clips, 2), np.int64), np.zeros((clips, 2), np.int64)
    for top in range(0, clips, block):
        rows = slice(top, top + block)
        for left in range(0, clips, block):
            columns = slice(left, left + block)
            similarity = audio[rows] @ video[columns].T
            for side, (query, axis, right) in enumerate(((rows, 1, own[rows, None]), (columns, 0, own[None, columns]))):
                better[query, side] += (similarity > right + _TIE).sum(axis=axis)
                not_worse[query, side] += (similarity >= right - _TIE).sum(axis=axis)
    return better, not_worse - better - 1  # the right clip is as similar as itself


def _summary(better: Array, tied: Array, weight: Array | None, level: float) -> dict[str, float]:
    hit = {f"r{depth}": np.clip((depth - better) / (tied + 1), 0, 1) for depth in _DEPTHS}
    rank = 1 + better + tied / 2
    result = {name: float(values.mean()) for name, values in hit.items()}
    result["median_rank"] = float(np.median(rank))
    result["chance_r1"] = 1 / len(rank)
    if weight is not None:
        many = {name: values @ weight / weight.sum(axis=0) for name, values in hit.items()}
        many["median_rank"] = _weighted_median(rank, weight)
        for name, values in many.items():
            bounds = interval(values, level)
            if bounds is not None:
                result[f"{name}_low"], result[f"{name}_high"] = bounds
    return result


def _weighted_median(values: Array, weight: Array) -> FloatArray:
    """Return the median [R] of `values` [N], each counted `weight` [N, R] whole times."""
    order = np.argsort(values, kind="stable")
    values = values[order]
    reached_NR = np.cumsum(weight[order], axis=0, dtype=np.float64)
    total_R = reached_NR[-1]
    low = (reached_NR > (total_R - 1) // 2).argmax(axis=0)
    high = (reached_NR > total_R // 2).argmax(axis=0)
    return np.asarray((values[low] + values[high]) / 2, np.float64)
