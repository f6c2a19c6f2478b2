"""Reading metrics/evaluation.json back, and the few figures of it by which runs are compared."""

from pathlib import Path
from typing import Any

from cavmae.errors import InputError
from cavmae.storage import read_json


def read_metrics(path: Path) -> dict[str, dict[str, Any]]:
    """Return `{split: figures}` as `evaluate` wrote it; raises InputError where the file holds something else."""
    document = read_json(path)
    if not isinstance(document, dict) or not all(isinstance(figures, dict) for figures in document.values()):
        raise InputError(f"{path}: is not what `evaluate` writes; run `cavmae evaluate` first")
    return document


def summary_figures(figures: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return accuracy and mAP of each model, and R@1 of retrieval both ways, of one split's `figures`.

    That is what `dvc metrics` and `dvc exp show` print in a line; how a model does without one of its inputs, the other figures
    and all intervals stand in metrics/evaluation.json.
    """
    models = {name: values for name, values in figures.items() if isinstance(values, dict) and "_missing_" not in name}
    found = {name: {key: values[key] for key in ("accuracy", "mAP") if key in values} for name, values in models.items()}
    ways = figures.get("retrieval", {})
    found |= {way: {"r1": values["r1"]} for way, values in ways.items() if "r1" in values}
    return {name: values for name, values in found.items() if values}
