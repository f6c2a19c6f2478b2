"""The pictures of the report: confusion, curves, learning and example clips, as the template draws them."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from cavmae.evaluation.contents import Report
from cavmae.evaluation.curves import Rows
from cavmae.evaluation.examples import Example
from cavmae.evaluation.figures import (
    ACCENT,
    INK,
    MUTED,
    PALETTE,
    Chart,
    Series,
    frame_uris,
    heat_map_png,
    line_chart,
    mean_curve,
    sound_uri,
    spectrogram_png,
)
from cavmae.evaluation.ranking import Array
from cavmae.evaluation.tables import MANY_CLASSES, in_order, model_name

_SHOWN_PAIRS = 10


def confusion(report: Report) -> list[dict[str, Any]]:
    """Return a matrix for each model: cells (count, share of the row), or with many classes a picture and pairs."""
    found = []
    for model in in_order(report.confusion):
        counts = np.asarray(report.confusion[model])
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
        worst = [divmod(int(i), len(counts)) for i in np.argsort(-wrong, axis=None, kind="stable")[:_SHOWN_PAIRS]]
        many = len(counts) > MANY_CLASSES
        cells = [list(zip(*row, strict=True)) for row in zip(counts.tolist(), share.tolist(), strict=True)]
        found.append(
            {
                "name": model_name(model),
                "rows": None if many else cells,
                "picture": heat_map_png(share) if many else None,
                "pairs": [(report.labels[a], report.labels[p], int(wrong[a, p])) for a, p in worst if wrong[a, p]],
            }
        )
    return found


def curves(report: Report) -> list[dict[str, Any]]:
    """Return precision-recall and ROC charts for each model: a line for each class and their mean."""
    found = []
    for model in in_order(report.curves):
        charts = [
            _curve_chart("Precision-recall", "recall", "precision", report.curves[model]["pr"], report.labels),
            _curve_chart("ROC", "fpr", "tpr", report.curves[model]["roc"], report.labels),
        ]
        found.append({"name": model_name(model), "charts": [chart for chart in charts if chart is not None]})
    return found


def curve_legend(report: Report) -> list[tuple[str, str]]:
    """Return (colour, text) of the lines in `curves`."""
    if len(report.labels) > len(PALETTE):
        return [(INK, "mean of the classes"), (MUTED, "one class")]
    return [(INK, "mean of the classes"), *zip(PALETTE, report.labels, strict=False)]


def learning(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the charts of each training run, one for each quantity that was measured; `runs` are rows by name."""
    colours = {"train": MUTED, "val": ACCENT, "": INK}
    found = []
    for run, rows in runs.items():
        x_name = next((name for name in ("epoch", "step") if rows and name in rows[0]), "row")
        x = [_float(row.get(x_name, index)) for index, row in enumerate(rows)]
        lines: dict[str, list[Series]] = {}
        for column in dict.fromkeys(key for row in rows for key in row if key not in ("epoch", "step")):
            phase, _, rest = column.replace("/", "_").partition("_")
            quantity, phase = (rest, phase) if phase in ("train", "val") and rest else (column, "")
            y = [_float(row.get(column)) for row in rows]
            lines.setdefault(quantity, []).append(Series(phase, x, y, colours[phase], 1.8))
        charts = [line_chart(quantity.replace("_", " "), x_name, "", series) for quantity, series in lines.items()]
        found.append({"name": run, "charts": [chart for chart in charts if chart is not None]})
    return found


def examples(report: Report) -> list[dict[str, Any]]:
    """Return the two groups of example clips with their pictures and sounds as data URIs."""
    groups = (("Handled best", report.best), ("Handled worst", report.worst))
    return [{"title": title, "clips": [_example(one) for one in clips]} for title, clips in groups if clips]


def _curve_chart(title: str, x: str, y: str, rows: Rows, labels: Sequence[str]) -> Chart | None:
    of_class = {label: list(points) for label, points in groupby(rows, key=lambda row: row["label"])}
    points = {c: _columns(of_class[label], x, y) for c, label in enumerate(labels) if label in of_class}
    if not points:
        return None
    many = len(labels) > len(PALETTE)
    width, opacity = (0.6, 0.5) if many else (1.1, 0.8)
    series = [Series(labels[c], *xy, MUTED if many else PALETTE[c], width, opacity) for c, xy in points.items()]
    series.append(Series("mean of the classes", *mean_curve(list(points.values()), x == "recall"), INK, 2.2))
    if x == "fpr":
        series.insert(0, Series("chance", (0, 1), (0, 1), MUTED, 0.7))
    names = {"fpr": "false positive rate", "tpr": "true positive rate"}
    return line_chart(title, names.get(x, x), names.get(y, y), series, bounds=(0, 1, 0, 1.02))


def _columns(rows: Rows, x: str, y: str) -> tuple[Array, Array]:
    return np.array([row[x] for row in rows]), np.array([row[y] for row in rows])


def _example(example: Example) -> dict[str, Any]:
    true = set(example.true_labels)
    return {
        "id": example.video_id,
        "true": list(example.true_labels),
        "predictions": [{"label": name, "score": score, "right": name in true} for name, score in example.predictions],
        "frames": frame_uris(example.frames),
        "spectrogram": spectrogram_png(example.log_mel),
        "seconds": example.seconds,
        "sound": None if example.waveform is None else sound_uri(example.waveform, example.sample_rate),
    }


def _float(value: Any) -> float:
    """Return a number from a TSV or JSON cell, NaN for an empty one."""
    return float(value) if isinstance(value, int | float) or (isinstance(value, str) and value.strip()) else math.nan
