"""An input that wants to become a clip."""

import os
from dataclasses import dataclass
from pathlib import Path

from cavmae.dataset.sources.stored import StoredFile

ELSEWHERE = Path()  # the path of inputs that lie in a store


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a source says of one clip; what is None is decided by `ingest`."""

    name: str
    path: Path
    labels: tuple[str, ...]
    where: str  # file and row, for messages
    frames: Path | None = None
    start_s: float | None = None
    end_s: float | None = None
    split: str | None = None
    group: str | None = None
    weight: float | None = None  # how often it is drawn in balanced sampling, against the others
    missing: str | None = None  # what to say where `path` is not there
    stored: StoredFile | None = None  # where the content lies, if in a store and not in the file `path`

    @property
    def shown(self) -> str:
        """What the manifest calls the input: its path, as `portable` gives it, or what its store does."""
        return self.stored.shown if self.stored else portable(self.path)


def portable(path: Path) -> str:
    """Return the path relative to the current folder where it lies below it, else absolute."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    return absolute if relative.startswith("..") else relative


def is_there(path: Path) -> bool:
    """Tell whether a path leads to anything; one that cannot exist (too long, below a file, shut) leads to nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def is_link(path: Path) -> bool:
    """Tell whether a path is a link, also one that leads nowhere."""
    try:
        return path.is_symlink()
    except OSError:
        return False


def printable(path: str) -> str:
    """Return a file name that any table can hold: bytes that are no UTF-8 are written as escapes."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a two-part character, which no file system gives
        return path.encode("utf-8", "backslashreplace").decode("utf-8")
