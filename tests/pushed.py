"""What `dvc push` leaves on a remote, written by hand: a test holds it against the real DVC."""

import hashlib
import json
from pathlib import Path

from cavmae.stores import open_store


def push_file(remote: str, content: bytes) -> str:
    """Write an object and return its location."""
    return _write(remote, content, "")


def push_folder(remote: str, folder: Path) -> str:
    """Write the objects of a folder and return the location of its own."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for content in files.values():
        push_file(remote, content)
    rows = [{"md5": _md5(content), "relpath": name} for name, content in sorted(files.items())]
    return push_list(remote, rows)


def push_list(remote: str, rows: object) -> str:
    """Write an object that says it is the list of a folder."""
    return _write(remote, json.dumps(rows, sort_keys=True).encode(), ".dir")


def _write(remote: str, content: bytes, ending: str) -> str:
    md5 = _md5(content)
    name = f"files/md5/{md5[:2]}/{md5[2:]}{ending}"
    open_store(remote).write(name, content)
    return f"{remote}/{name}"


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
