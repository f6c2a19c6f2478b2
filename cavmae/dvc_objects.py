"""Objects of a DVC remote or cache, read without DVC: what their names say, and what the object of a folder lists.

DVC 3 keeps a file as files/md5/<2 digits>/<30 digits>, and a folder as such an object with the ending .dir, which lists the names
and hashes of its files. Neither names nor contents are trusted: a list counts where its content has the MD5 that it is named by,
and it is for the reader to say which names of files it takes.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cavmae.errors import InputError
from cavmae.storage import parse_json
from cavmae.stores import Absent, is_remote, locate

FOLDER_ENDING = ".dir"
_OBJECT = re.compile(r"(?P<root>(?:.*/)?files/md5)/(?P<head>[0-9a-f]{2})/(?P<rest>[0-9a-f]{30})(?P<folder>\.dir)?")
_MD5 = re.compile(r"[0-9a-f]{32}")
_LARGEST_LIST = 1 << 30  # bytes; a million files take a tenth of that


@dataclass(frozen=True)
class DvcObject:
    """What a location that has the form of such an object names: `root` ends in files/md5."""

    location: str
    root: str
    md5: str
    is_folder: bool

    @classmethod
    def at(cls, location: str) -> "DvcObject | None":
        """The object that a location names, None where its form is another."""
        found = _OBJECT.fullmatch(location)
        if found is None:
            return None
        return cls(location, found["root"], found["head"] + found["rest"], found["folder"] is not None)


def object_place(root: str, md5: str) -> str:
    """Where a content lies below a `root` that ends in files/md5; the MD5 of a folder's list ends in .dir."""
    return f"{root}/{md5[:2]}/{md5[2:]}"


@dataclass(frozen=True)
class Listed:
    """A file that the object of a folder lists: its entry from 0, its path as it stands there, its MD5."""

    number: int
    path: str
    md5: str


def listed(folder: DvcObject, where: str) -> list[Listed]:
    """Read what the object of a folder lists, in its order.

    Raises InputError, in which the object is called `where`, where it is not there, is not what its name says, lists nothing, a
    path twice, or something that is no path with an MD5.
    """
    rows = parse_json(_content(folder, where), where)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{where}: lists no files")
    return list(_checked(rows, where))


def _checked(rows: list[Any], where: str) -> Iterator[Listed]:
    seen: set[str] = set()
    for number, row in enumerate(rows):
        path, md5 = (row.get("relpath"), row.get("md5")) if isinstance(row, dict) else (None, None)
        if not isinstance(path, str) or not path:
            raise InputError(f"{where}, entry {number}: 'relpath' is missing")
        if not isinstance(md5, str) or not _MD5.fullmatch(md5):
            raise InputError(f"{where}, entry {number}: 'md5' is missing or no MD5")
        if path in seen:
            raise InputError(f"{where}, entry {number}: {path!r} stands there twice")
        seen.add(path)
        yield Listed(number, path, md5)


def _content(folder: DvcObject, where: str) -> str:
    location = folder.location
    try:
        if is_remote(location):
            store, name = locate(location)
            content = store.read(name) if (store.size(name) or 0) <= _LARGEST_LIST else None
        else:
            content = Path(location).read_bytes() if Path(location).stat().st_size <= _LARGEST_LIST else None
    except (Absent, FileNotFoundError):
        raise InputError(f"{where}: no such object; push the data (`dvc push`) or correct the name") from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror})") from None
    if content is None:
        raise InputError(f"{where}: is larger than {_LARGEST_LIST} bytes, which no list of files is")
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != folder.md5:
        raise InputError(f"{where}: its content is not what its name says; push the data (`dvc push`) again")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8 ({error})") from None
