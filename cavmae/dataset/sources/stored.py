"""Sources that lie in a store: objects on S3, and what a DVC remote or cache keeps under its hash."""

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cavmae.errors import InputError
from cavmae.stores import S3, Store, is_name, is_remote, locate, open_store


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Where the content of an input lies, and what is known of it; what is None has not been looked up.

    `shown` is what people recognise it by: its URI, or its path in the folder that DVC tracks. `place` is the URI, or the
    path on this machine, that holds the content.
    """

    shown: str
    place: str
    size: int | None = None  # bytes
    mark: str | None = None  # changes with the content: the etag, or the MD5 that DVC knows it by
    md5: str | None = None  # what the content's MD5 must be
    sha256: str | None = None
    duration_s: float | None = None  # of the media, where it was measured

    @property
    def well_named(self) -> bool:
        """Tell whether both names are such that nothing can be meant but one file: no `..`, no control characters."""
        key = self.place.removeprefix(S3).partition("/")[2] if is_remote(self.place) else PurePosixPath(self.place).name
        return is_name(key) and (self.shown == self.place or is_name(self.shown))

    @property
    def key(self) -> str | None:
        """What the content is remembered by between runs; None where nothing tells whether it has changed."""
        return None if self.mark is None else f"{self.md5 or self.place} {'' if self.md5 else self.size} {self.mark}"

    def opened(self) -> tuple[Store, str]:
        """Return the store, and the name in it."""
        if is_remote(self.place):
            return locate(self.place)
        path = Path(self.place)
        return open_store(str(path.parent)), path.name

    def looked_up(self) -> "StoredFile | None":
        """Return this with size and mark, asking the store where they are not known; None where there is no such file."""
        if self.size is not None and self.mark is not None:
            return self
        store, name = self.opened()
        entry = store.entry(name)
        return None if entry is None else replace(self, size=entry.size, mark=self.mark or entry.mark)


def beside(table: str, given: str, where: str) -> str:
    """Return the URI that a row of a list on S3 means by `given`: a URI, or a path relative to the list.

    Raises InputError for an absolute path, which no other machine has, and for one that leads out of the bucket.
    """
    if is_remote(given):
        return given
    bucket, _, key = table.removeprefix(S3).partition("/")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(key), given))
    if given.startswith("/") or path.startswith("../") or path in (".", ".."):
        raise InputError(
            f"{where}: path {given!r} leads to no object beside the list; write it relative to the list, or as a URI"
        )
    return f"{S3}{bucket}/{path}"


def is_hidden(relative: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is hidden."""
    return any(part.startswith(".") and part not in (".", "..") for part in relative.split("/"))


def label_of(relative: str) -> tuple[str, ...]:
    """Return the label that the first level of sub-folders gives, if there is one."""
    first, slash, _ = relative.partition("/")
    # blanks around a name would not survive labels.csv
    return (first.strip(),) if slash and first.strip() else ()


def stem_of(name: str) -> str:
    """Return the name of a file without folders and ending."""
    return posixpath.splitext(posixpath.basename(name))[0]
