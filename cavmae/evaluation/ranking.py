"""Average precision and area under the ROC curve of one class, for many weightings of the same clips at once.

Dimensions in comments: N clips, R weightings (one, or the replicates of a bootstrap), S segments of the ranked list.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


def average_precision_and_auc(positive: Array, score: Array, weight: Array) -> tuple[FloatArray, FloatArray]:
    """Return (AP [R], AUC [R]) of one class from `positive` bool [N], `score` [N] and `weight` [N, R].

    A weight says how often the clip counts; whole weights stand for a bootstrap sample, so that the ranked list is
    sorted once and not once for each replicate.

        AP  = sum_k (recall_k - recall_{k-1}) * precision_k        over the distinct thresholds k, no interpolation
        AUC = P(score of a positive > score of a negative) + P(equal) / 2

    The second is the Mann-Whitney form of the area under the ROC curve (Fawcett 2006, "An introduction to ROC
    analysis", section 7). Clips of equal score share one threshold in both. NaN stands where a number is not defined:
    both without positives, AUC also without negatives.
    """
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order].astype(bool)
    tie_start = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
    tie_has_positive = np.logical_or.reduceat(positive, tie_start)
    # Between two thresholds with positives recall stands still, so the negatives there may be counted in one go:
    # a segment is one tie with positives, or a run of ties without.
    opens_segment = tie_has_positive | np.concatenate([[True], tie_has_positive[:-1]])
    cut = tie_start[opens_segment]

    clips_SR = np.add.reduceat(weight[order], cut, axis=0).astype(np.float64)
    hits_SR = np.zeros_like(clips_SR)
    where = np.flatnonzero(positive)
    if where.size:
        segment = np.searchsorted(cut, where, side="right") - 1
        filled, first = np.unique(segment, return_index=True)
        hits_SR[filled] = np.add.reduceat(weight[order[where]], first, axis=0)

    hits_so_far_SR = np.cumsum(hits_SR, axis=0)
    clips_so_far_SR = np.cumsum(clips_SR, axis=0)
    positives_R, negatives_R = hits_so_far_SR[-1], clips_so_far_SR[-1] - hits_so_far_SR[-1]
    precision_SR = hits_so_far_SR / np.maximum(clips_so_far_SR, 1e-300)  # no clip so far: no hit either, 0 / tiny = 0
    below_SR = (clips_SR - hits_SR) * (hits_so_far_SR - hits_SR / 2)  # pairs in which the positive wins, ties half
    with np.errstate(invalid="ignore", divide="ignore"):
        average_precision_R = (hits_SR * precision_SR).sum(axis=0) / positives_R
        auc_R = below_SR.sum(axis=0) / (positives_R * negatives_R)
    return average_precision_R, auc_R
