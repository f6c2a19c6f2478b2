"""Files by name in a folder or on S3, behind one interface; the names need not be trusted."""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from cavmae.errors import InputError, StepFailed

S3 = "s3://"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONGEST = 1024  # bytes of a key on S3
_AHEAD = 4  # items that each thread may be ahead of the one that is asked for

Item = TypeVar("Item")
Result = TypeVar("Result")


class Absent(StepFailed):
    """What was to be read is not there."""


class Entry(NamedTuple):
    """What a listing says of a file: its name, which nobody has checked, its size in bytes and a mark that changes with it."""

    name: str
    size: int
    mark: str  # the etag on S3, time and number of the file in a folder


class Store(ABC):
    """A place for files with names such as `a/b.tar`; whatever is written is there whole or not at all.

    A bad name, a place that does not exist or may not be used raises InputError, a service that fails StepFailed, and a
    name that is not there Absent, a StepFailed too; each names the URI.
    """

    threads = 1  # that may use it to advantage at once

    def __init__(self, location: str) -> None:
        self.location = location

    def uri(self, name: str) -> str:
        """Return where a name lies, for people and for `location.json`."""
        return f"{self.location.rstrip('/')}/{check_name(name, self.location)}"

    def size(self, name: str) -> int | None:
        """Return the size in bytes, or None where the name is not there."""
        entry = self.entry(name)
        return None if entry is None else entry.size

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that begin with `prefix`, sorted, without those that `is_name` refuses."""
        yield from sorted(entry.name for entry in self.entries(prefix) if is_name(entry.name))

    @abstractmethod
    def entry(self, name: str) -> Entry | None:
        """Return size and mark of a name, or None where it is not there."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Yield what begins with `prefix`, in the place's own order; the names are not checked."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content."""

    @abstractmethod
    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """Return the content with the tag that `write_if` takes, or None where the name is not there."""

    @abstractmethod
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer where the file ends before."""

    @abstractmethod
    def fetch(self, name: str, path: Path) -> None:
        """Copy the content into the file `path`, which appears whole or not at all."""

    @abstractmethod
    def put(self, name: str, path: Path) -> None:
        """Write the content of the file `path`, in place of what was there."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write `content`, in place of what was there."""

    @abstractmethod
    def write_if(self, name: str, content: bytes, expected: str | None) -> bool:
        """Write `content` where the tag of what is there is `expected` (None: nothing is there); tell whether it was.

        Of several writers at once that expect the same, one succeeds.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a name; one that is not there is removed already."""


def open_store(location: str) -> Store:
    """Return the store at a location: a folder, made when something is written, or `s3://bucket/prefix`.

    S3 is asked with boto3's own settings: credentials, region and profile from its chain, another service than AWS from
    AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3. Nothing is asked before the first use. Raises InputError for any other location.
    """
    if is_remote(location):
        from cavmae.stores_s3 import S3Store

        return S3Store(location)
    if not location or _SCHEME.match(location) or "\0" in location:
        raise InputError(f"{location!r}: is no place for files; give a folder or s3://bucket/prefix")
    from cavmae.stores_folder import FolderStore

    return FolderStore(location)


def locate(uri: str) -> tuple[Store, str]:
    """Return the store of the bucket that an `s3://bucket/key` names, one for the whole process, and the key, not yet checked."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    return _bucket(f"{S3}{bucket}"), key


def read_text(location: Path | str) -> str:
    """Return the UTF-8 text of a small file, a path or `s3://bucket/key`; raises InputError where there is none."""
    try:
        if not is_remote(str(location)):
            return Path(location).read_text(encoding="utf-8-sig")
        store, key = locate(str(location))
        return store.read(key).decode("utf-8-sig")
    except (FileNotFoundError, Absent):
        raise InputError(f"{location}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{location}: cannot be read as UTF-8 text ({error})") from None


@lru_cache(maxsize=64)
def _bucket(location: str) -> Store:
    return open_store(location)


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items; with several threads a few are computed before they are asked for."""
    if threads < 2:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="store")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= _AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def is_remote(location: str) -> bool:
    """Tell whether a location is on S3, not a path on this machine."""
    return location.startswith(S3)


def is_name(name: str) -> bool:
    """Tell whether a name is a relative path of plain parts, of at most 1024 bytes.

    No part is empty, `.` or `..`, and none holds control characters.
    """
    try:
        short = len(name.encode()) <= _LONGEST
    except UnicodeEncodeError:
        return False
    plain = all(part not in ("", ".", "..") for part in name.split("/"))
    return short and plain and not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in name)


def check_name(name: str, location: str) -> str:
    """Return a name that `is_name` accepts; raises InputError for any other."""
    if not is_name(name):
        raise InputError(f"{location}: {name!r} is no name for a file in it; rename it")
    return name
