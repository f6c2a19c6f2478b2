"""Where clips come from: the sample set, a folder, S3, DVC's store, a CSV or a CAV-MAE JSON, each as a list of candidates."""

from pathlib import Path

from cavmae.dataset.sources.candidate import Candidate
from cavmae.dataset.sources.dvc import read_dvc, same_directory
from cavmae.dataset.sources.folder import read_folder
from cavmae.dataset.sources.official import read_official
from cavmae.dataset.sources.prefix import read_prefix
from cavmae.dataset.sources.table import read_table
from cavmae.dataset.sources.weights import with_weights
from cavmae.dvc_objects import FOLDER_ENDING
from cavmae.errors import InputError
from cavmae.stores import is_remote

__all__ = ["Candidate", "read_source", "same_directory", "with_weights"]

_KINDS = "`sample`, a folder of videos, s3://bucket/prefix, a .csv, a .json or a DVC directory object"


def read_source(source: str) -> list[Candidate]:
    """Return the candidates of a folder, a prefix on S3, a `.csv`, a `.json` or a DVC directory object, here or on S3.

    Raises InputError where it is none of them.
    """
    path = Path(source)
    if not is_remote(source):
        if path.is_dir():
            return read_folder(path)
        if not path.exists():
            raise InputError(f"source {source}: no such file or folder; give {_KINDS}")
    if source.lower().endswith(".csv"):
        return read_table(source)
    if source.lower().endswith(".json"):
        return read_official(source)
    if source.endswith(FOLDER_ENDING):
        return read_dvc(source)
    if is_remote(source):
        return read_prefix(source)
    raise InputError(f"source {source}: give {_KINDS}, not a single file of another kind")
