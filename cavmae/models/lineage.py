"""Where a model comes from: code, parameters, data, parents. The same inputs give the same lineage, byte for byte."""

import hashlib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cavmae.git import git
from cavmae.models.files import CONFIG, LINEAGE, METRICS, model_fingerprint
from cavmae.params import Section
from cavmae.storage import read_json, sha256_file

_PACKAGE = Path(__file__).resolve().parent.parent
_PACKAGES = ("cavmae", "numpy", "torch", "torchaudio", "av", "pillow", "safetensors", "scikit-learn")
_DATASET_FILES = ("index.json", "clips.parquet", "labels.csv")
COPIES = ("package",)  # steps that hand weights and configuration on as they are
IMAGE_VARIABLE = "CAVMAE_IMAGE_DIGEST"
COMMIT_VARIABLE = "CAVMAE_GIT_COMMIT"  # what an image was built from: 40 digits, and `-dirty` behind them where they are not all


def lineage_of(step: str, params: Section, dataset: Path | None, parents: dict[str, Path]) -> dict[str, Any]:
    """Return the lineage of a model that `step` makes with `params` from a validated data set and parent model folders.

    Each parent stands there with its hashes and its own lineage, so that the line goes back to the first model.
    """
    return {
        "format": 1,
        "step": step,
        "params": params.model_dump(mode="json"),
        "code": {**_git(), "sha256": code_fingerprint()},
        "packages": _versions(),
        "image": os.environ.get(IMAGE_VARIABLE) or None,
        "dataset": dataset_fingerprint(dataset) if dataset is not None else None,
        "parents": {
            name: {"files": model_fingerprint(folder), "lineage": read_json(folder / LINEAGE)} for name, folder in parents.items()
        },
    }


def files_told(lineage: Any) -> dict[str, Any]:
    """Return what the lineage of a copy says of the files beside it: configuration and metrics by their hashes."""
    if not isinstance(lineage, dict) or lineage.get("step") not in COPIES:
        return {}
    told = {METRICS: lineage["metrics"]} if lineage.get("metrics") else {}
    parents = lineage.get("parents")
    for parent in parents.values() if isinstance(parents, dict) else ():
        if isinstance(parent, dict) and isinstance(parent.get("files"), dict) and CONFIG in parent["files"]:
            told[CONFIG] = parent["files"][CONFIG]
    return told


def dataset_fingerprint(dataset: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that say which clips, labels and shards a data set has."""
    return {name: sha256_file(dataset / name) for name in _DATASET_FILES if (dataset / name).is_file()}


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Return the SHA-256 over the library's own source files."""
    return sources_fingerprint({path.relative_to(_PACKAGE): path.read_bytes() for path in _PACKAGE.rglob("*.py")})


def sources_fingerprint(sources: Mapping[Path, bytes]) -> str:
    """Return the SHA-256 over source files, by their paths within the library."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.as_posix().encode() + b"\0" + sources[path])
    return digest.hexdigest()


def _git() -> dict[str, Any]:
    """Commit of the working copy that the library lies in and whether it was clean.

    Without git, which no image has, what the image was built from; None where nobody says.
    """

    status = git("status", "--porcelain", "--untracked-files=no", "--", str(_PACKAGE), at=_PACKAGE)
    commit = git("rev-parse", "HEAD", at=_PACKAGE)
    if commit is None and (built := re.fullmatch(r"([0-9a-f]{40})(-dirty)?", os.environ.get(COMMIT_VARIABLE, ""))):
        return {"commit": built[1], "clean": built[2] is None}
    # before the first commit there is nothing that a working copy could differ from
    return {"commit": commit, "clean": None if status is None or commit is None else not status}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code_commit() -> str:
    """Return the git commit of the working copy for a person, or `unknown`."""
    git = _git()
    if git["commit"] is None:
        return "unknown"
    return f"{git['commit']}{'' if git['clean'] else ' with local changes'}"
