"""The content of a source as a file of this machine, for as long as it is read."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cavmae.dataset.schema import Row
from cavmae.media.clip import MediaRejected
from cavmae.storage import sha256_file
from cavmae.stores import Absent, is_remote, locate

_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")


def fetching_folder(folder: Path, process: int) -> Path:
    """Return where, below `folder`, a process puts what it fetches."""
    return folder / f"source.{process}.partial"


def safe_ending(name: str) -> str:
    """Return the ending of a name, such as `.mp4`, or nothing where it is no plain one."""
    ending = PurePosixPath(name).suffix
    return ending if _ENDING.fullmatch(ending) else ""


def is_too_large(row: Row, limit: int | None) -> bool:
    """Tell whether the source of a manifest row would have to be fetched and is larger than `limit` bytes."""
    return limit is not None and is_remote(_place(row)) and row["bytes"] > limit


@contextmanager
def at_hand(row: Row, folder: Path, limit: int | None) -> Iterator[Path]:
    """Yield a path at which the source of a manifest row can be read; what was fetched is removed afterwards.

    A file of this machine is where it is. An object is fetched into `folder`, one at a time in a process. MediaRejected:
    `too_large` for one above `limit` bytes, `unreadable_file` for one that is gone or no longer what `ingest` read.
    """
    place = _place(row)
    if place == row["path"] and not is_remote(place):
        yield Path(place)
        return
    if is_too_large(row, limit):
        raise MediaRejected("too_large", f"The file of {row['bytes']} bytes is larger than the {limit} that are fetched.")
    scratch = fetching_folder(folder, os.getpid())
    # demuxers look at the ending, so what is fetched must keep it
    copy = scratch / f"clip{safe_ending(row['path'])}"
    scratch.mkdir(exist_ok=True)
    try:
        if is_remote(place):
            _fetch(row, place, copy)
        else:
            copy.symlink_to(Path(place).absolute())
        yield copy
    finally:
        copy.unlink(missing_ok=True)
        scratch.rmdir()


def _place(row: Row) -> str:
    return str(row.get("object") or row["path"])


def _fetch(row: Row, uri: str, copy: Path) -> None:
    bucket, name = locate(uri)
    gone = MediaRejected("unreadable_file", "The object is no longer the one that ingest read; run ingest again.")
    if bucket.size(name) != row["bytes"]:
        raise gone
    try:
        bucket.fetch(name, copy)
    except Absent:
        raise gone from None
    if row["frames"] is None and sha256_file(copy) != row["sha256"]:
        raise gone
