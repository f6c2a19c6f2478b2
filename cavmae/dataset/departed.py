"""What `ingest` remembers of clips that a source has no more: their split, so that one that comes back cannot change it."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from cavmae.dataset.schema import read_rows, write_table

DEPARTED = "departed.parquet"
_KNOWN_BY = ("group", "sha256")
_SCHEMA = pa.schema([("key", pa.string()), ("split", pa.string())])


class Departed:
    """The splits of contents and groups that are gone, under hashes: neither a name nor a path outlives its clip."""

    def __init__(self, splits: Mapping[str, str] | None = None) -> None:
        self._splits = dict(splits or {})

    @classmethod
    def read(cls, path: Path) -> "Departed":
        """Return what `write` left, or nothing; raises InputError for a file that is no such table."""
        if not path.is_file():
            return cls()
        return cls({row["key"]: row["split"] for row in read_rows(path, _SCHEMA)})

    def write(self, path: Path) -> None:
        """Write it down; where there is nothing to remember, there is no file."""
        if self._splits:
            write_table(path, ({"key": key, "split": self._splits[key]} for key in sorted(self._splits)), _SCHEMA)
        else:
            path.unlink(missing_ok=True)

    def split_of(self, value: str) -> str | None:
        """Return the split that a content, by its hash, or a group had, None where it is not remembered."""
        return self._splits.get(_key(value)) if self._splits else None

    def knows(self, value: str) -> bool:
        """Whether a content or a group is remembered."""
        return self.split_of(value) is not None

    def updated(self, before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> "Departed":
        """Return what to remember when the rows `before` were followed by `now`; what came back stays remembered."""
        gone = {row[name]: row["split"] for row in before for name in _KNOWN_BY}
        here = {row[name] for row in now for name in _KNOWN_BY}
        return Departed(self._splits | {_key(value): split for value, split in gone.items() if value not in here})


def _key(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:32]
