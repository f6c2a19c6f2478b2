"""What the report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cavmae.evaluation.curves import Rows
from cavmae.evaluation.examples import Example
from cavmae.evaluation.ranking import Array


@dataclass(frozen=True)
class Report:
    """What the page shows; an empty part leaves its section out. Models are named as in metrics/evaluation.json.

    - metrics: the content of metrics/evaluation.json, `{split: {model: …, "retrieval": …, "ceiling": …}}`
    - per_class: model -> the `per_class` of `metrics.classification`, in the order of `labels`
    - confusion: model -> counts [C, C], rows actual (`curves.confusion_matrix`)
    - curves: model -> `curves.curve_points`
    - learning: run -> rows {epoch, train_loss, val_loss, …}; columns that differ in `train_` and `val_` share a chart
    - clips: split -> clips; label_clips: label -> split -> clips
    - quarantine: rows of quarantine.parquet
    - lineage: (what, value) lines
    - level: of the confidence intervals in `metrics`
    - single_label: one label a clip, else several: then the page leads with mAP, since one best label is no measure of many
    """

    title: str
    metrics: Mapping[str, Any]
    labels: Sequence[str]
    split: str = "test"
    level: float = 0.95
    single_label: bool = True
    per_class: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    confusion: Mapping[str, Array] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Rows]] = field(default_factory=dict)
    learning: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    best: Sequence[Example] = ()
    worst: Sequence[Example] = ()
    clips: Mapping[str, int] = field(default_factory=dict)
    label_clips: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    quarantine: Sequence[Mapping[str, Any]] = ()
    lineage: Sequence[tuple[str, str]] = ()
