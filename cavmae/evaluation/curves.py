"""Confusion, precision-recall and ROC as lists of rows: what `dvc plots` reads and what the report draws."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cavmae.evaluation.ranking import Array, FloatArray
from cavmae.storage import write_atomic, write_json

Rows = list[dict[str, Any]]


def confusion_rows(target: Array, score: Array, labels: Sequence[str]) -> Rows:
    """Return rows {actual, predicted}, which the `confusion` template of dvc plots counts: `target`, `score` [N, C].

    One row for each true label of each clip. With one label per clip, predicted is the label with the highest score.
    With n > 1, a true label among the n highest scores is predicted right; else predicted is the best-scored wrong one.
    """
    pairs = _confusion_pairs(target, score)
    return [{"actual": labels[actual], "predicted": labels[predicted]} for actual, predicted in pairs]


def confusion_matrix(target: Array, score: Array) -> Array:
    """Return the counts of `confusion_rows`, int64 [C, C]: rows actual, columns predicted."""
    classes = target.shape[1]
    matrix = np.zeros((classes, classes), np.int64)
    for actual, predicted in _confusion_pairs(target, score):
        matrix[actual, predicted] += 1
    return matrix


def curve_points(target: Array, score: Array, labels: Sequence[str], limit: int = 200) -> dict[str, Rows]:
    """Return {"pr": rows {label, recall, precision, threshold}, "roc": rows {label, fpr, tpr, threshold}}.

    One point for each distinct score of a class, thinned to `limit` points evenly spaced along the curve (ends kept).
    A curve starts above the highest score (threshold: that score plus 1, so that it stays a number), with nothing
    predicted: ROC at (0, 0) (Fawcett 2006), precision-recall at recall 0 with the precision of the first point. A class
    without positives has no curve, one without negatives no ROC.
    """
    pr: Rows = []
    roc: Rows = []
    for c, label in enumerate(labels):
        positive = target[:, c] > 0
        if not positive.any():
            continue
        threshold, hits, alarms = _sweep(positive, score[:, c])
        recall, precision = hits / hits[-1], hits / np.maximum(hits + alarms, 1)
        precision[0] = precision[1]
        pr += _rows(label, {"recall": recall, "precision": precision, "threshold": threshold}, limit)
        if alarms[-1]:
            roc += _rows(label, {"fpr": alarms / alarms[-1], "tpr": recall, "threshold": threshold}, limit)
    return {"pr": pr, "roc": roc}


def pooled_roc(target: Array, score: Array, limit: int = 200) -> Rows:
    """Return rows {fpr, tpr, threshold} of one ROC over all pairs of clip and class (micro average): `target`, `score` [N, C].

    Empty where all pairs are of one kind.
    """
    rows = curve_points(target.reshape(-1, 1), score.reshape(-1, 1), ["all"], limit)["roc"]
    return [{key: value for key, value in row.items() if key != "label"} for row in rows]


def write_rows(path: Path, rows: Rows, columns: Sequence[str] | None = None) -> None:
    """Write rows for `dvc plots` atomically: .json as a list of objects, .tsv or .csv with a header.

    `columns` names the header where there may be no row; by default it is the keys of the first.
    """
    if path.suffix == ".json":
        write_json(path, rows)
        return
    names = list(columns) if columns is not None else list(rows[0]) if rows else []
    with write_atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _confusion_pairs(target: Array, score: Array) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    ranked_NC = np.argsort(-score, axis=1, kind="stable")
    for true, ranked in zip(target > 0, ranked_NC, strict=True):
        taken = set(ranked[: int(true.sum())].tolist())
        wrong = next((int(c) for c in ranked if not true[c]), None)
        for actual in np.flatnonzero(true).tolist():
            pairs.append((actual, actual if actual in taken or wrong is None else wrong))
    return pairs


def _sweep(positive: Array, score: Array) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (threshold, hits, false alarms): an entry above all scores, then one for each distinct score downwards."""
    order = np.argsort(-score, kind="stable")
    score, positive = score[order].astype(np.float64), positive[order]
    last_of_tie = np.flatnonzero(np.concatenate([score[1:] != score[:-1], [True]]))
    hits = np.concatenate([[0.0], np.cumsum(positive)[last_of_tie]])
    alarms = np.concatenate([[0.0], np.cumsum(~positive)[last_of_tie]])
    return np.concatenate([[score[0] + 1], score[last_of_tie]]), hits, alarms


def _rows(label: str, columns: dict[str, FloatArray], limit: int) -> Rows:
    x, y = list(columns.values())[:2]
    keep = np.arange(len(x))
    if len(x) > limit:
        walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        keep = np.unique(np.searchsorted(walked, np.linspace(0, walked[-1], limit)).clip(max=len(x) - 1))
    return [{"label": label} | {name: float(values[i]) for name, values in columns.items()} for i in keep]
