"""One model's part of metrics/evaluation.json: numbers only, as `dvc metrics diff` reads them."""

from typing import Any

from cavmae.evaluation.bootstrap import confidence_intervals
from cavmae.evaluation.metrics import MACRO, classification
from cavmae.evaluation.ranking import Array


def summarise(
    target: Array,
    score: Array,
    single_label: bool,
    replicates: int,
    seed: int,
    level: float = 0.95,
    groups: Array | None = None,
    single_frame_score: Array | None = None,
    official: bool = False,
) -> dict[str, Any]:
    """Return the flat metrics of `score` [N, C] against `target` [N, C], with `<metric>_low` and `<metric>_high`.

    `score` is the mean over all frames; `single_frame_score` [N, C], from the middle frame alone, adds the sub-dict
    `single_frame` without intervals. A number that is not defined is left out: every value is a finite float or an int.
    `replicates` 0 leaves the intervals out. `official` counts as the original does. Raises as `classification` does.
    """
    result: dict[str, Any] = _flat(classification(target, score, single_label, official))
    if replicates:
        intervals = confidence_intervals(target, score, single_label, replicates, seed, level, groups, official)
        for name, (low, high) in intervals.items():
            result[f"{name}_low"], result[f"{name}_high"] = low, high
    if single_frame_score is not None:
        single = _flat(classification(target, single_frame_score, single_label, official))
        result["single_frame"] = {name: single[name] for name in (*MACRO, "d_prime") if name in single}
    return result


def _flat(metrics: dict[str, Any]) -> dict[str, float | int]:
    return {name: value for name, value in metrics.items() if name != "per_class" and value is not None}
