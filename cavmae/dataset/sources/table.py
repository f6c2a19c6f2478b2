"""A CSV `path,labels[,split,start,end,group,video_id]`; paths are relative to the CSV's folder, or s3:// URIs."""

import logging
import math
from pathlib import Path

from cavmae.dataset.labels import read_csv
from cavmae.dataset.sources.candidate import ELSEWHERE, Candidate
from cavmae.dataset.sources.stored import StoredFile, beside, stem_of
from cavmae.dataset.splits import SPLITS
from cavmae.errors import InputError
from cavmae.stores import is_remote

log = logging.getLogger(__name__)

_SAME = {"label": "labels", "start_s": "start", "end_s": "end", "video_path": "path"}
_KNOWN = ("path", "labels", "split", "start", "end", "group", "video_id")


def read_table(path: str) -> list[Candidate]:
    """Return the rows of a CSV, a path or a URI, as candidates; several labels stand separated by `;`.

    Raises InputError naming the row that is wrong.
    """
    candidates = []
    ignored: set[str] = set()
    for row, record in read_csv(path):
        values: dict[str, str] = {}
        for key, value in record.items():
            name = _SAME.get(key, key)
            if name in _KNOWN:
                values.setdefault(name, value)
            else:
                ignored.add(key)
        candidates.append(_candidate(path, row, values))
    if ignored:
        log.info("%s: columns not used: %s", path, ", ".join(sorted(ignored)))
    if not candidates:
        raise InputError(f"{path}: no rows below the header")
    return candidates


def _candidate(table: str, row: int, values: dict[str, str]) -> Candidate:
    where = f"{table}, row {row}"
    if "path" not in values:
        raise InputError(f"{where}: column 'path' is missing; the columns are path,labels[,split,start,end,group,video_id]")
    if not values["path"] or "\0" in values["path"]:
        raise InputError(f"{where}: 'path' is empty or not a path")
    split = values.get("split") or None
    if split == "valid" or split == "validation":
        split = "val"
    if split is not None and split not in SPLITS:
        raise InputError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
    start, end = _seconds(where, "start", values), _seconds(where, "end", values)
    if end is not None and end <= (start or 0.0):
        raise InputError(f"{where}: end {end:g} is not behind start {start or 0.0:g}")
    if is_remote(table) or is_remote(values["path"]):
        uri = beside(table, values["path"], where)
        file, stored, stem = ELSEWHERE, StoredFile(uri, uri), stem_of(uri)
    else:
        file, stored = Path(table).parent / values["path"], None
        stem = file.stem
    labels = tuple(dict.fromkeys(label.strip() for label in values.get("labels", "").split(";") if label.strip()))
    return Candidate(
        name=values.get("video_id") or stem,
        path=file,
        labels=labels,
        where=where,
        start_s=start,
        end_s=end,
        split=split,
        group=values.get("group") or None,
        stored=stored,
    )


def _seconds(where: str, key: str, values: dict[str, str]) -> float | None:
    text = values.get(key)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise InputError(f"{where}: {key} {text!r} is not a number of seconds")
    return seconds
