"""Where clips come from: the sample set, a folder, a CSV or a CAV-MAE JSON, each as a stream of candidates."""

from pathlib import Path

from cavmae.dataset.sources.candidate import Candidate
from cavmae.dataset.sources.folder import read_folder
from cavmae.dataset.sources.official import read_official
from cavmae.dataset.sources.table import read_table
from cavmae.dataset.sources.weights import with_weights
from cavmae.errors import InputError

__all__ = ["Candidate", "read_source", "with_weights"]


def read_source(source: str) -> list[Candidate]:
    """Return the candidates of a path: a folder, a `.csv` or a `.json`; raises InputError where it is none of them."""
    path = Path(source)
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise InputError(f"source {source}: no such file or folder; give `sample`, a folder of videos, a .csv or a .json")
    if path.suffix.lower() == ".csv":
        return read_table(path)
    if path.suffix.lower() == ".json":
        return read_official(path)
    raise InputError(f"source {source}: give `sample`, a folder of videos, a .csv or a .json, not a single file of another kind")
