"""The state of a source in a few digits: equal digits mean that `ingest` would find the same."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from cavmae.dataset.identity import frame_folders
from cavmae.dataset.sources import Candidate, read_source
from cavmae.dataset.sources.dvc import directory_md5
from cavmae.errors import InputError
from cavmae.stores import ahead, is_remote, locate

_DIGITS = 16
_THREADS = 16  # that wait for S3 at once


def source_version(source: str) -> str:
    """Return 16 digits that change when the content of a source does; for keys under which results are kept.

    Files of this machine count by path, size and time of change, objects on S3 by key, size and etag, both without being
    read. A DVC directory object counts by the MD5 in its name, a CSV or JSON by its bytes and by the state of every file
    that it names, the sample set by the code that renders it. Raises InputError where `ingest` would.
    """
    digest = hashlib.sha256()
    for word in _words(source):
        digest.update(word.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:_DIGITS]


def file_version(location: str) -> str:
    """Return 16 digits that change when a file, or any file of a folder, does, on this machine or on S3; nothing is read."""
    if is_remote(location):
        store, name = locate(location)
        entry = store.entry(name)
        state = "absent" if entry is None else f"{entry.size} {entry.mark}"
    else:
        path = Path(location)
        files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        state = "\n".join(f"{file} {_file_state(file)}" for file in files)
    return hashlib.sha256(f"{location}\n{state}".encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _words(source: str) -> Iterator[str]:
    if source == "sample":
        from cavmae.dataset import sample

        folder = Path(sample.__file__).parent
        yield from (f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sorted(folder.glob("*.py")))
        return
    if (md5 := directory_md5(source)) is not None:
        _check_there(source)
        yield md5
        return
    candidates = read_source(source)
    if source.lower().endswith((".csv", ".json")):
        yield hashlib.sha256(_content(source)).hexdigest()
    remote = any(candidate.stored is not None for candidate in candidates)
    folders: dict[Path, list[Path]] = {}
    yield from ahead(lambda candidate: _state(candidate, folders), candidates, _THREADS if remote else 1)


def _check_there(source: str) -> None:
    if is_remote(source):
        store, name = locate(source)
        there = store.size(name) is not None
    else:
        there = Path(source).is_file()
    if not there:
        raise InputError(f"source {source}: no such object; push the data (`dvc push`) or correct the name")


def _content(source: str) -> bytes:
    if is_remote(source):
        store, name = locate(source)
        return store.read(name)
    return Path(source).read_bytes()


def _state(candidate: Candidate, folders: dict[Path, list[Path]]) -> str:
    if candidate.stored is not None:
        found = candidate.stored.looked_up() if candidate.stored.well_named else None
        return f"{candidate.shown} {found.key if found else 'absent'}"
    words = [candidate.shown, _file_state(candidate.path)]
    if candidate.frames is not None:
        if candidate.frames not in folders:
            folders[candidate.frames] = frame_folders(candidate.frames)
        words += [_file_state(folder / f"{candidate.name}.jpg") for folder in folders[candidate.frames]]
    return " ".join(words)


def _file_state(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"
