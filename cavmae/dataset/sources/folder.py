"""A folder of videos; the first level of sub-folders gives the labels."""

import logging
import os
from pathlib import Path

from cavmae.dataset.sources.candidate import Candidate, portable
from cavmae.errors import InputError

log = logging.getLogger(__name__)


def read_folder(folder: Path) -> list[Candidate]:
    """Return every file below `folder` as a candidate, in sorted order; hidden files and linked folders are passed over.

    Files directly in the folder have no label: enough for pretraining. Raises InputError where there is no file at all.
    """
    candidates = []
    linked = []
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        linked += [name for name in folders if (Path(parent) / name).is_symlink()]
        inside = Path(parent).relative_to(folder)
        # blanks around a name would not survive labels.csv
        labels = tuple(name.strip() for name in inside.parts[:1] if name.strip())
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = Path(parent) / name
            candidates.append(Candidate(name=path.stem, path=path, labels=labels, where=portable(path)))
    if linked:
        log.warning("ingest: %d linked folders are not followed, %r for one; name them as source", len(linked), linked[0])
    if not candidates:
        raise InputError(f"source {folder}: the folder holds no files")
    return sorted(candidates, key=lambda candidate: os.fsencode(candidate.path))
