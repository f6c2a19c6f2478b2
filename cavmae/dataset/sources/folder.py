"""A folder of videos; the first level of sub-folders gives the labels."""

import os
from pathlib import Path

from cavmae.dataset.sources.candidate import Candidate, portable
from cavmae.errors import InputError


def read_folder(folder: Path) -> list[Candidate]:
    """Return every file below `folder` as a candidate, in sorted order; hidden files and linked folders are passed over.

    Files directly in the folder have no label: enough for pretraining. Raises InputError where there is no file at all.
    """
    candidates = []
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(parent).relative_to(folder)
        labels = inside.parts[:1]
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = Path(parent) / name
            candidates.append(Candidate(name=path.stem, path=path, labels=labels, where=portable(path)))
    if not candidates:
        raise InputError(f"source {folder}: the folder holds no files")
    return sorted(candidates, key=lambda candidate: os.fsencode(candidate.path))
