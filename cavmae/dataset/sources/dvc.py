"""A folder that DVC tracks, as its remote or cache keeps it: a list of names and hashes, and every content under its hash."""

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Any

from cavmae.dataset.sources.candidate import ELSEWHERE, Candidate, portable
from cavmae.dataset.sources.stored import StoredFile, is_hidden, label_of, stem_of
from cavmae.errors import InputError
from cavmae.storage import parse_json
from cavmae.stores import Absent, is_remote, locate

ENDING = ".dir"
_OBJECT = re.compile(r"(?P<root>(?:.*/)?files/md5)/(?P<head>[0-9a-f]{2})/(?P<rest>[0-9a-f]{30})\.dir")
_MD5 = re.compile(r"[0-9a-f]{32}")
_LARGEST = 1 << 30  # bytes; a million files take a tenth of that


def directory_md5(source: str) -> str | None:
    """Return the MD5 in the name of a DVC directory object, or None where the name is not that of one."""
    found = _OBJECT.fullmatch(source)
    return f"{found['head']}{found['rest']}" if found else None


def same_directory(source: str) -> str:
    """Return what all versions of a tracked folder on one remote have in common; any other source as it is."""
    found = _OBJECT.fullmatch(source)
    return f"{found['root']}/*{ENDING}" if found else source


def read_dvc(source: str) -> list[Candidate]:
    """Return the files that a DVC directory object `<remote>/files/md5/ab/cdef….dir` lists, in sorted order.

    Their paths within the folder are what they are called by, and its sub-folders give the labels. Raises InputError where
    the object is not there, damaged, or names anything in a way that DVC does not.
    """
    found = _OBJECT.fullmatch(source)
    if found is None:
        raise InputError(
            f"source {source}: is no directory object of DVC 3; its name is <remote>/files/md5/ab/cdef….dir "
            "(a prefix that ends like this needs a / behind it)"
        )
    rows = parse_json(_read(source, f"{found['head']}{found['rest']}"), f"source {source}")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"source {source}: lists no files")
    root = found["root"] if is_remote(source) else portable(Path(found["root"]))
    listed = PurePosixPath(source).name
    candidates: dict[str, Candidate] = {}
    for number, row in enumerate(rows):
        relative, md5 = _checked(row, f"source {source}, entry {number}")
        if relative in candidates:
            raise InputError(f"source {source}, entry {number}: {relative!r} stands there twice")
        if not is_hidden(relative):
            stored = StoredFile(relative, f"{root}/{md5[:2]}/{md5[2:]}", None, md5, md5)
            where = f"{listed}, {relative}"
            candidates[relative] = Candidate(stem_of(relative), ELSEWHERE, label_of(relative), where, stored=stored)
    if not candidates:
        raise InputError(f"source {source}: lists hidden files only")
    return [candidates[relative] for relative in sorted(candidates, key=lambda name: name.encode("utf-8", "surrogatepass"))]


def _read(source: str, md5: str) -> str:
    try:
        if is_remote(source):
            store, name = locate(source)
            content = store.read(name) if (store.size(name) or 0) <= _LARGEST else None
        else:
            content = Path(source).read_bytes() if Path(source).stat().st_size <= _LARGEST else None
    except (Absent, FileNotFoundError):
        raise InputError(f"source {source}: no such object; push the data (`dvc push`) or correct the name") from None
    except OSError as error:
        raise InputError(f"source {source}: cannot be read ({error.strerror})") from None
    if content is None:
        raise InputError(f"source {source}: is larger than {_LARGEST} bytes, which no list of files is")
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise InputError(f"source {source}: its content is not what its name says; push the data (`dvc push`) again")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"source {source}: is not UTF-8 ({error})") from None


def _checked(row: Any, where: str) -> tuple[str, str]:
    relative, md5 = (row.get("relpath"), row.get("md5")) if isinstance(row, dict) else (None, None)
    if not isinstance(relative, str) or not relative:
        raise InputError(f"{where}: 'relpath' is missing")
    if not isinstance(md5, str) or not _MD5.fullmatch(md5):
        raise InputError(f"{where}: 'md5' is missing or no MD5")
    return relative, md5
