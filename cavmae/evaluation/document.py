"""Reading metrics/evaluation.json back."""

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
