"""Where shards lie: in a folder or on S3, each a tar and its record; and `location.json`, which tells the next step."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cavmae.dataset.tar import Shard, missing
from cavmae.errors import InputError, StepFailed
from cavmae.storage import read_json, write_json
from cavmae.stores import Absent, ahead, is_name, is_remote, open_store

LOCATION = "location.json"
_FORMAT = 1
_DIGITS = 16  # of the fingerprint, in the name of a shard that lies in a store


def stored_name(name: str, fingerprint: str) -> str:
    """Return the name, without ending, of a shard in a store that data sets share: it says what was made of what."""
    return f"{name}-{fingerprint[:_DIGITS]}"


class Shelf:
    """Shards below `root`, a folder or `s3://bucket/prefix`; `files` names those whose files are not called as the shard is.

    A movable one is written down as seen from who reads it, even where its root is given as an absolute path.
    """

    def __init__(self, root: str, files: Mapping[str, str], movable: bool = False) -> None:
        self.root, self.files, self._movable = root, dict(files), movable
        self.store = open_store(root)

    @classmethod
    def beside(cls, folder: Path) -> "Shelf | None":
        """Return what `location.json` in `folder` says, or None where there is none; raises InputError for a malformed one."""
        path = folder / LOCATION
        if not path.is_file():
            return None
        found = read_json(path)
        root = found.get("root") if isinstance(found, dict) else None
        files = found.get("files", {}) if isinstance(found, dict) else None
        if not isinstance(root, str) or not root or "\0" in root or not isinstance(files, dict):
            raise InputError(f"{path}: 'root' and 'files' are missing or malformed; run the step that wrote it again")
        for shard, name in files.items():
            if not isinstance(name, str) or not is_name(name):
                raise InputError(
                    f"{path}: {name!r} is no name for the files of shard {shard!r}; run the step that wrote it again"
                )
        movable = "://" not in root and not Path(root).is_absolute()
        return cls(_seen_from_here(folder / root) if movable else root, files, movable)

    def write_location(self, folder: Path, final: Path | None = None) -> None:
        """Write `location.json` into `folder`, which will be moved to `final` where that is given."""
        root = self.root
        if not is_remote(root) and (self._movable or not Path(root).is_absolute()):
            root = Path(os.path.relpath(Path(root).resolve(), (final or folder).resolve())).as_posix()
        write_json(folder / LOCATION, {"format": _FORMAT, "root": root, "files": self.files})

    def tar(self, shard: str) -> str:
        """Return the name of the shard's tar in the store."""
        return f"{self.files.get(shard, shard)}.tar"

    def shard(self, name: str, record: Mapping[str, Any]) -> Shard:
        """Return the shard's tar, to read clips from, with size and hash as its record has them."""
        return Shard(self.store, self.tar(name), record.get("bytes"), record.get("sha256"))

    def record_name(self, shard: str) -> str:
        """Return the name of the shard's record in the store."""
        return f"{self.files.get(shard, shard)}.json"

    def holds(self, shard: str, fingerprint: str) -> bool:
        """Tell whether a shard lies there whole, made of what the fingerprint says."""
        size = self.store.size(self.tar(shard))
        if size is None:
            return False
        try:
            record = self.record(shard)
        except (Absent, ValueError, RecursionError):
            return False
        return isinstance(record, dict) and (record.get("fingerprint"), record.get("bytes")) == (fingerprint, size)

    def record(self, shard: str) -> Any:
        """Return the record of a shard as it was written; raises ValueError where it is damaged."""
        return json.loads(self.store.read(self.record_name(shard)))

    def records(self, shards: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the records of shards in their order, read side by side from S3; raises StepFailed for one that is not right."""

        def read(shard: str) -> dict[str, Any]:
            uri = self.store.uri(self.record_name(shard))
            try:
                record = self.record(shard)
            except Absent:
                raise StepFailed(missing(uri)) from None
            except (ValueError, RecursionError):
                record = None
            if (
                not isinstance(record, dict)
                or not isinstance(record.get("members"), dict)
                or type(record.get("bytes", 0)) is not int
            ):
                raise StepFailed(f"{uri}: the record of a shard is damaged; delete it and run `cavmae extract` again")
            return record

        return ahead(read, shards, self.store.threads)

    def sizes(self, shards: Iterable[str]) -> dict[str, int]:
        """Return the sizes in bytes of those tars that are there."""
        names = list(shards)
        found = ahead(lambda shard: self.store.size(self.tar(shard)), names, self.store.threads)
        return {shard: size for shard, size in zip(names, found, strict=True) if size is not None}


def _seen_from_here(path: Path) -> str:
    """Return where a path leads, links followed: relative where that is below the current folder, else absolute."""
    place, here = Path(os.path.realpath(path)), Path.cwd().resolve()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)
