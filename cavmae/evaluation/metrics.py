"""Classification metrics of clips, per class and macro.

The dimensions in comments: N clips, C classes, R weightings of the clips (one, or the replicates of a bootstrap).
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.ranking import Array, FloatArray, average_precision_and_auc

MACRO = ("accuracy", "mAP", "mAUC", "precision", "recall", "f1")
_THRESHOLD = 0.5
_OFFICIAL_EMPTY = {"AP": 0.0, "AUC": -1.0}  # what the original counts a class without positives as, under scikit-learn 1.2.2


def classification(target: Array, score: Array, single_label: bool, official: bool = False) -> dict[str, Any]:
    """Return the metrics of `score` [N, C] against `target` [N, C] of 0 and 1, macro and under `per_class`.

    - accuracy: single label, argmax of target equals argmax of score; several labels, the label with the highest
      score is one of the clip's own (an exact match of whole label sets would punish the clips with most labels).
    - mAP, mAUC: means over classes of average precision and of the area under the ROC curve.
    - d_prime: sqrt(2) * ppf(mAUC), from the mean AUC (Kong et al. 2020, "PANNs"; Gong et al. 2023, "CAV-MAE").
    - precision, recall, f1: of the argmax for single label, of scores >= 0.5 (probabilities) for several; a class that
      is never predicted has precision 0.

    A class without positives has neither AP nor AUC nor recall: it is left out of every mean and counted in
    `classes_without_positives`. The sets on which results are published have none, so this changes no published mean.
    With `official` the means count it as the original does, AP as 0 and AUC as -1, and accuracy is argmax of target
    against argmax of score also for several labels.
    What is not defined is None, never NaN; so is d' of an AUC of 0 or 1, which would be infinite.

    Raises InputError without clips, StepFailed for scores that are not finite, ValueError for shapes that do not fit.
    """
    weight = np.ones((len(target), 1), np.float32)
    each = class_metrics(target, score, single_label, weight)
    macro = macro_metrics(target, score, single_label, weight, each, official)
    absent = int((each["support"][:, 0] == 0).sum())
    result: dict[str, Any] = {name: _defined(value[0]) for name, value in macro.items()}
    result["d_prime"] = d_prime(result["mAUC"])
    result["clips"], result["classes"], result["classes_without_positives"] = len(target), target.shape[1], absent
    result["per_class"] = [
        {name: _defined(each[name][c, 0]) for name in ("AP", "AUC", "precision", "recall", "f1")}
        | {name: int(each[name][c, 0]) for name in ("support", "predicted")}
        | {"d_prime": d_prime(_defined(each["AUC"][c, 0]))}
        for c in range(target.shape[1])
    ]
    return result


def d_prime(auc: float | None) -> float | None:
    """Return sqrt(2) * ppf(auc), the distance in standard deviations between two Gaussians that would give this AUC.

    None for None, and for 0 and 1, where it is infinite.
    """
    if auc is None or not 0 < auc < 1:
        return None
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def class_metrics(target: Array, score: Array, single_label: bool, weight: Array) -> dict[str, FloatArray]:
    """Return AP, AUC, precision, recall, f1, support and predicted, each [C, R]; a clip counts `weight` [N, R] times.

    NaN where a number is not defined (see `classification`, which also tells what is raised).
    """
    target, score = _checked(target, score)
    classes, replicates = target.shape[1], weight.shape[1]
    predicted = _one_hot(score.argmax(axis=1), classes) if single_label else (score >= _THRESHOLD).astype(np.float32)
    support_CR = _count(target, weight)
    predicted_CR = _count(predicted, weight)
    hits_CR = _count(predicted * target, weight)

    ap_CR, auc_CR = np.empty((classes, replicates)), np.empty((classes, replicates))
    for c in range(classes):
        ap_CR[c], auc_CR[c] = average_precision_and_auc(target[:, c] > 0, score[:, c], weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall_CR = hits_CR / support_CR
        precision_CR = np.where(support_CR > 0, hits_CR / np.maximum(predicted_CR, 1), np.nan)
        f1_CR = np.where(support_CR > 0, 2 * hits_CR / (predicted_CR + support_CR), np.nan)
    return {"AP": ap_CR, "AUC": auc_CR, "precision": precision_CR, "recall": recall_CR, "f1": f1_CR,
            "support": support_CR, "predicted": predicted_CR}  # fmt: skip


def macro_metrics(
    target: Array,
    score: Array,
    single_label: bool,
    weight: Array,
    each: dict[str, FloatArray] | None = None,
    official: bool = False,
) -> dict[str, FloatArray]:
    """Return the metrics named in MACRO, each [R]; `each` spares a second run of `class_metrics`, `official` as there."""
    each = each or class_metrics(target, score, single_label, weight)
    top_N = score.argmax(axis=1)
    first = single_label or official
    correct_N = target.argmax(axis=1) == top_N if first else target[np.arange(len(target)), top_N] > 0
    result = {"accuracy": correct_N.astype(np.float64) @ weight / weight.sum(axis=0, dtype=np.float64)}
    for name, key in (("mAP", "AP"), ("mAUC", "AUC"), ("precision", "precision"), ("recall", "recall"), ("f1", "f1")):
        value_CR = each[key]
        if official and key in _OFFICIAL_EMPTY:
            value_CR = np.nan_to_num(value_CR, nan=_OFFICIAL_EMPTY[key])
        defined_CR = ~np.isnan(value_CR)
        with np.errstate(invalid="ignore"):
            result[name] = np.where(defined_CR, value_CR, 0).sum(axis=0) / defined_CR.sum(axis=0)
    return result


def _checked(target: Array, score: Array) -> tuple[Array, Array]:
    if target.ndim != 2 or target.shape != score.shape:
        raise ValueError(f"target {target.shape} and score {score.shape} must have one shape, [clips, classes]")
    if not target.size:
        raise InputError("nothing to evaluate: the split holds no clip or no label; add some with ingest")
    wrong = int((~np.isfinite(score)).any(axis=1).sum())
    if wrong:
        where = f"for {wrong} of {len(score)} clips"
        raise StepFailed(f"the model gave scores that are not finite {where}; train it again with a lower lr")
    return target.astype(np.float32), score


def _one_hot(index: Array, classes: int) -> Array:
    one_hot: Array = (index[:, None] == np.arange(classes)).astype(np.float32)
    return one_hot


def _count(indicator_NC: Array, weight_NR: Array) -> FloatArray:
    # float32 holds whole numbers exactly up to 2^24: more clips than any split has.
    return np.asarray(indicator_NC.T @ weight_NR, np.float64)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
