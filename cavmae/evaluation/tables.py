"""The tables of the report: from what it holds to the rows that the template prints."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cavmae.evaluation.contents import Report

MODELS = {
    "multimodal": "Sound and picture",
    "audio": "Sound alone",
    "video": "Picture alone",
    "multimodal_missing_audio": "Sound and picture, sound missing",
    "multimodal_missing_video": "Sound and picture, picture missing",
}
HEADS = {  # the columns of the first table
    "accuracy": "Accuracy",
    "mAP": "mAP",
    "mAUC": "mAUC",
    "d_prime": "d′",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}
METRICS = tuple(HEADS)
_NOT_MODELS = ("retrieval", "ceiling", "difference")
MANY_CLASSES = 20  # more than this many do not fit as a table of numbers
_SHOWN_FILES = 3


@dataclass(frozen=True)
class Cell:
    """A number with its confidence interval, as far as they are known."""

    value: float | None
    low: float | None = None
    high: float | None = None


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` decimals, an en dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share 0..1 in percent."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def model_name(model: str) -> str:
    """Return what people call the model; an unknown one keeps its name."""
    return MODELS.get(model, model.replace("_", " "))


def models(report: Report) -> list[str]:
    """Return the models that have metrics, in order."""
    scores = report.metrics.get(report.split, {})
    return in_order(name for name in scores if not name.startswith(_NOT_MODELS) and "accuracy" in scores[name])


def in_order(names: Iterable[str]) -> list[str]:
    """Return model names, those of MODELS first and in their order, then the others by name."""
    present = sorted(names)
    return [name for name in MODELS if name in present] + [name for name in present if name not in MODELS]


def lead(report: Report) -> str:
    """Return the metric that the page leads with: accuracy, or mAP for clips of several labels."""
    return METRICS[0] if report.single_label else "mAP"


def headlines(report: Report) -> list[dict[str, str]]:
    """Return the three or four numbers that a reader should leave with: {value, label, note}."""
    scores = report.metrics.get(report.split, {})
    present = models(report)
    if not present:
        return []
    main, metric = present[0], lead(report)
    cell = _cell(scores[main], metric)
    note = ""
    if cell.low is not None:
        note = f"{percent(report.level, 0)} interval {percent(cell.low)} to {percent(cell.high)}"
    found = [{"value": percent(cell.value), "label": f"{metric}, {model_name(main).lower()}", "note": note}]
    alone = [name for name in ("audio", "video") if name in present and name != main and metric in scores[name]]
    if alone and metric in scores[main]:
        best = max(alone, key=lambda name: float(scores[name][metric]))
        gain = 100 * (scores[main][metric] - scores[best][metric])
        sentence = f"{model_name(best).lower()} reaches {percent(scores[best][metric])}"
        found.append({"value": f"{gain:+.1f} points", "label": "over the better one alone", "note": sentence})
    if "retrieval" in scores:
        ways = list(scores["retrieval"].values())
        r1 = sum(way["r1"] for way in ways) / len(ways)
        times = r1 / ways[0]["chance_r1"]
        sentence = f"R@1 of {percent(r1)}, mean of both ways; chance is {percent(ways[0]['chance_r1'], 2)}"
        found.append(
            {"value": f"{times:.{0 if times >= 10 else 1}f} × chance", "label": "finding a clip's other half", "note": sentence}
        )
    clips = sum(report.clips.values())
    if clips:
        splits = ", ".join(f"{count:,} {split}" for split, count in report.clips.items())
        aside = f"and {len(report.quarantine):,} files set aside"
        found.append({"value": f"{clips:,} clips", "label": aside, "note": splits})
    return found


def summary(report: Report) -> list[dict[str, Any]]:
    """Return a row for each model: its cells by metric, that of `lead` first and of a single frame too; ceiling where known.

    The ceiling is one of accuracy, and stands there where that leads.
    """
    scores, first = report.metrics.get(report.split, {}), lead(report)
    order = (first, *(metric for metric in METRICS if metric != first))
    return [
        {
            "name": model_name(model),
            "cells": {metric: _cell(scores[model], metric) for metric in order},
            "single_frame": scores[model].get("single_frame", {}).get(first),
            "ceiling": scores.get("ceiling", {}).get(model) if report.single_label else None,
        }
        for model in models(report)
    ]


def gains(report: Report) -> list[dict[str, Any]]:
    """Return the rows of `difference`, {"<a>_minus_<b>": {accuracy, accuracy_low, …}}: paired on the same clips."""
    found = report.metrics.get(report.split, {}).get("difference", {})
    rows = []
    for name, values in found.items():
        left, _, right = name.partition("_minus_")
        cells = {metric: _cell(values, metric) for metric in ("accuracy", "mAP", "f1")}
        rows.append({"left": model_name(left), "right": model_name(right), "cells": cells})
    return rows


def retrieval(report: Report) -> list[dict[str, Any]]:
    """Return a row for each direction of each retrieval set: `retrieval`, then `retrieval_control` and the like."""
    rows = []
    ways = {"audio_to_video": "sound → picture", "video_to_audio": "picture → sound"}
    for group in sorted(name for name in report.metrics.get(report.split, {}) if name.startswith("retrieval")):
        for way, values in sorted(report.metrics[report.split][group].items()):
            cells = {key: _cell(values, key) for key in ("r1", "r5", "r10", "median_rank")}
            kind = group.removeprefix("retrieval").strip("_").replace("_", " ")
            rows.append({"way": ways.get(way, way), "set": kind, "cells": cells, "chance": values["chance_r1"]})
    return rows


def classes(report: Report) -> dict[str, Any] | None:
    """Return the per-class table: AP of every model beside each other, the rest of the first model."""
    if not report.per_class:
        return None
    names = in_order(report.per_class)
    main = report.per_class[names[0]]
    rows: list[dict[str, Any]] = [
        {"label": label, "main": main[c], "ap": [report.per_class[name][c]["AP"] for name in names]}
        for c, label in enumerate(report.labels)
    ]
    if len(rows) > MANY_CLASSES:
        rows.sort(key=lambda row: -1.0 if row["main"]["AP"] is None else row["main"]["AP"], reverse=True)
    return {"models": [model_name(name) for name in names], "rows": rows}


def quarantine(report: Report) -> list[dict[str, Any]]:
    """Return a row for each step and reason, the most frequent first, with a few files, their folders left out."""
    count = Counter((str(row["reason"]), str(row["step"])) for row in report.quarantine)
    files: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in report.quarantine:
        shown = files.setdefault((str(row["reason"]), str(row["step"])), [])
        if len(shown) < _SHOWN_FILES:
            name = PurePosixPath(str(row["path"] or row["video_id"])).name
            shown.append({"file": name, "detail": str(row["detail"] or "")})
    return [
        {"reason": reason, "step": step, "count": n, "files": files[reason, step]}
        for (reason, step), n in sorted(count.items(), key=lambda item: (-item[1], item[0]))
    ]


def _cell(values: Mapping[str, Any], metric: str) -> Cell:
    return Cell(values.get(metric), values.get(f"{metric}_low"), values.get(f"{metric}_high"))
