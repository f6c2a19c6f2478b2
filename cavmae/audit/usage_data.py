"""Looking for a clip in every version of the data: here, in git's history, and beside the shards in a store."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cavmae.audit.usage_found import Usage
from cavmae.dataset.kept_lists import fetch_clips, fetch_quarantine, kept_versions
from cavmae.dataset.schema import CLIPS, QUARANTINE, Row, read_rows
from cavmae.dataset.shelf import Shelf
from cavmae.dataset.versions import (
    CLIPS_FILE,
    QUARANTINE_FILE,
    NoLock,
    history_gap,
    locked_outputs,
    revisions,
    version_folder,
)
from cavmae.errors import InputError, StepFailed
from cavmae.storage import sha256_file
from cavmae.stores import Store

_NAMES = ("video_id", "name", "path", "object", "group")


class ClipLists:
    """Every list that was looked at; what is found goes to `usage`. `has` tells by a list's hash whether it has the clip."""

    def __init__(self, usage: Usage) -> None:
        self.has: dict[str, bool] = {}
        self._usage = usage
        self._quarantines: set[str] = set()

    def look_here(self, dataset: Path) -> None:
        """Look into the data set in a folder, where there is one."""
        if (dataset / CLIPS_FILE).is_file():
            with self._telling(str(dataset)):
                self._look(str(dataset), dataset)

    def look_into_history(self, dataset: Path, models: Path) -> dict[str, str]:
        """Look into the data sets that committed versions of dvc.lock name; return commit and path of each of their models."""
        gap = history_gap()
        if gap is not None:
            self._usage.unknown.append({"what": "the history of git", "why": gap})
        tracked = Path(os.path.relpath(dataset)).as_posix()
        seen: set[str] = set()
        committed: dict[str, str] = {}
        for commit, time in revisions():
            where = f"commit {commit[:12]} of {time[:10]}"
            try:
                outputs = locked_outputs(commit)
            except NoLock:
                continue
            except InputError as error:
                self._usage.unknown.append({"what": where, "why": str(error)})
                continue
            md5 = outputs.get(tracked)
            if md5 is not None and md5 not in seen:
                seen.add(md5)
                with self._telling(f"{dataset} at {where}"), version_folder(commit, tracked) as folder:
                    self._look(where, folder)
            for path, value in outputs.items():
                if path.startswith(f"{models.name}/") and value.endswith(".dir"):
                    committed.setdefault(value, f"{commit}\t{path}")
        return committed

    def look_into_store(self, dataset: Path, place: str | None) -> None:
        """Look into the lists that `validate` kept beside the shards, in `place` or where the data set says."""
        with self._telling(place or str(dataset)):
            shelf = Shelf.beside(dataset) if place is None else Shelf(place, {})
            if shelf is None:
                return
            versions = kept_versions(shelf.store)
            if place is not None and not versions:
                raise InputError("keeps no lists of data sets; name the place that `extract.store` was when they were made")
            for version, quarantines in versions.items():
                where = f"{shelf.root}, version {version[:12]}"
                with self._telling(where):
                    self._look_at_kept(where, shelf.store, version, quarantines)

    def _look_at_kept(self, where: str, store: Store, version: str, quarantines: list[str]) -> None:
        """Bring those lists of a version that nothing else had, and look into them."""
        with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
            if version not in self.has:
                self._look_at_clips(where, fetch_clips(store, version, Path(folder)), version)
            for sha256 in quarantines:
                if sha256 not in self._quarantines:
                    self._look_at_quarantine(where, fetch_quarantine(store, version, sha256, Path(folder)), version)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except (InputError, StepFailed) as error:
            self._usage.unknown.append({"what": what, "why": str(error)})

    def _look(self, where: str, folder: Path) -> None:
        sha256 = sha256_file(folder / CLIPS_FILE)
        self._look_at_clips(where, folder / CLIPS_FILE, sha256)
        if (folder / QUARANTINE_FILE).is_file():
            self._look_at_quarantine(where, folder / QUARANTINE_FILE, sha256)

    def _look_at_clips(self, where: str, path: Path, sha256: str) -> None:
        if sha256 in self.has:
            return
        rows = [row for row in read_rows(path, CLIPS) if self._is(row)]
        self.has[sha256] = bool(rows)
        for row in rows:
            found = {"video_id": row["video_id"], "split": row["split"], "shard": row["shard"]}
            place = {"path": row["object"] or row["path"]}
            self._usage.data.append({"version": where, "clips_sha256": sha256, **found, **place})

    def _look_at_quarantine(self, where: str, path: Path, clips_sha256: str) -> None:
        sha256 = sha256_file(path)
        if sha256 in self._quarantines:
            return
        for row in read_rows(path, QUARANTINE):
            if self._usage.clip in (row["video_id"], row["path"]):
                found = {"video_id": row["video_id"], "path": row["path"], "quarantined": row["reason"]}
                self._usage.data.append({"version": where, "clips_sha256": clips_sha256, **found})
        self._quarantines.add(sha256)

    def _is(self, row: Row) -> bool:
        return any(row[name] == self._usage.clip for name in _NAMES)
