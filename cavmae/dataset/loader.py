"""Clips of a validated data set, and threads that compute what is wanted of them before it is asked for."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from cavmae.dataset.labels import Label, read_labels
from cavmae.dataset.schema import CLIPS, read_rows
from cavmae.dataset.shelf import LOCATION, Shelf
from cavmae.dataset.tar import Shard, read_clip_members
from cavmae.errors import InputError
from cavmae.storage import read_json
from cavmae.stores import ahead

T = TypeVar("T")
_PATIENCE_S = 0.5
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """One clip: where it lies in its shard, and the indexes of its labels."""

    video_id: str
    path: str
    group: str
    labels: tuple[int, ...]
    shard: Shard
    offset: int
    length: int
    weight: float | None = None

    def members(self) -> dict[str, bytes]:
        """Read `{suffix: content}` from the shard."""
        return read_clip_members(self.shard, self.offset, self.length)


def read_clips(clips: Sequence[ClipRecord]) -> Iterator[dict[str, bytes]]:
    """Yield the members of clips, in order; those of shards on S3 are read side by side."""
    if not clips:
        return iter(())
    return ahead(ClipRecord.members, clips, clips[0].shard.store.threads)


class ClipSet:
    """The data set that `validate` wrote: labels, settings of the shards, and the clips of each split."""

    def __init__(self, folder: Path) -> None:
        for name in ("index.json", "clips.parquet", "labels.csv"):
            if not (folder / name).is_file():
                raise InputError(f"{folder}: not a validated data set, {name} is missing; run `cavmae validate` first")
        _warn_of_a_closed_gate(folder)
        index = read_json(folder / "index.json")
        shelf = Shelf.beside(folder)
        if shelf is None or "shards_root" in index:
            raise InputError(f"{folder}: was validated by an earlier version, {LOCATION} is missing; run `cavmae validate` again")
        self.folder = folder
        self.settings: dict[str, object] = index["settings"]
        self.ceiling: dict[str, float] = index.get("ceiling", {})  # best possible accuracy, where the source knows it
        self.labels: list[Label] = read_labels(folder / "labels.csv")
        position = {label.mid: number for number, label in enumerate(self.labels)}
        members: dict[str, dict[str, tuple[int, int]]] = {}
        self.longest_s = 0.0  # of all clips, as decoded
        names = [shard["name"] for shard in index["shards"]]
        shards: dict[str, Shard] = {}  # one for all clips in it
        for name, record in zip(names, shelf.records(names), strict=True):
            members[name] = record["members"]
            shards[name] = shelf.shard(name, record)
            self.longest_s = max([self.longest_s, *(facts["duration_s"] for facts in record["facts"])])
        self.splits: dict[str, list[ClipRecord]] = {"train": [], "val": [], "test": []}
        for row in read_rows(folder / "clips.parquet", CLIPS):
            offset, length = members[row["shard"]][row["video_id"]]
            labels = tuple(sorted(position[name] for name in row["labels"]))
            place = shards[row["shard"]]
            clip = ClipRecord(row["video_id"], row["path"], row["group"], labels, place, offset, length, row["weight"])
            self.splits[row["split"]].append(clip)

    def split(self, name: str) -> list[ClipRecord]:
        """The clips of a split, in manifest order; raises InputError where there are none."""
        clips = self.splits[name]
        if not clips:
            raise InputError(f"{self.folder}: split '{name}' holds no clips")
        return clips

    def targets(self, clips: Sequence[ClipRecord]) -> np.ndarray:
        """Label indicators float32 [N, C] of clips."""
        targets = np.zeros((len(clips), len(self.labels)), dtype=np.float32)
        for row, clip in enumerate(clips):
            targets[row, list(clip.labels)] = 1.0
        return targets


def _warn_of_a_closed_gate(folder: Path) -> None:
    """Whoever goes on by hand where `validate` said no is told so at every step."""
    verdict = read_json(folder / "verdict.json") if (folder / "verdict.json").is_file() else {}
    failed = [item["name"] for item in verdict.get("expectations", []) if item["critical"] and not item["passed"]]
    if failed:
        log.warning("%s: its gate is closed (%s); what is made of it rests on data that failed", folder, ", ".join(failed))


def balance_weights(clips: Sequence[ClipRecord]) -> np.ndarray:
    """Sampling weights [N]: those that came with the clips, where every clip has one.

    Else, for each clip, the sum over its labels of 1000 / (clips with the label + 0.01), as the original computes them.
    """
    given = [clip.weight for clip in clips if clip.weight is not None]
    if clips and len(given) == len(clips):
        return np.array(given)
    frequency = Counter(label for clip in clips for label in clip.labels)
    return np.array([sum(1000.0 / (frequency[label] + 0.01) for label in clip.labels) for clip in clips])


def end_soon(threads: Sequence[threading.Thread]) -> None:
    """Wait a little for threads that were told to stop: one may hang on slow storage, and whoever stops wants to save.

    Those that never were started are passed over.
    """
    until = time.monotonic() + _PATIENCE_S
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, until - time.monotonic()))


class Prefetch(Generic[T]):
    """Compute `make(item)` for each item in `readers` threads; results come in the order of the items.

    Besides what the threads are at, up to `ahead` results wait to be asked for (by default two, or one for each thread). An
    error is raised when its result is asked for. The threads begin and end with the iteration.
    """

    def __init__(
        self, items: Sequence[Sequence[int]], make: Callable[[Sequence[int]], T], ahead: int | None = None, readers: int = 1
    ) -> None:
        self._items, self._make, self._readers = items, make, readers
        self._ahead = max(2, readers) if ahead is None else ahead
        self._changed = threading.Condition()
        self._results: dict[int, T | BaseException] = {}
        self._begun, self._given, self._stopped = 0, 0, False

    def __iter__(self) -> Generator[T, None, None]:
        threads = [threading.Thread(target=self._work, daemon=True, name="reader") for _ in range(self._readers)]
        try:
            for thread in threads:
                thread.start()
            for number in range(len(self._items)):
                yield self._next(number)
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            end_soon(threads)

    def _next(self, number: int) -> T:
        with self._changed:
            self._changed.wait_for(lambda: number in self._results)
            result = self._results.pop(number)
            self._given += 1
            self._changed.notify_all()
        if isinstance(result, BaseException):
            raise result
        return result

    def _work(self) -> None:
        while (number := self._begin()) is not None:
            try:
                result: T | BaseException = self._make(self._items[number])
            except BaseException as error:  # handed to the consumer, which raises it
                result = error
            with self._changed:
                self._results[number] = result
                self._changed.notify_all()
                if isinstance(result, BaseException):
                    self._stopped = True  # what is before it is under way already

    def _begin(self) -> int | None:
        """Take the next item, once there is room for its result; None where there is nothing more to do."""
        with self._changed:
            self._changed.wait_for(self._may_begin)
            if self._stopped or self._begun == len(self._items):
                return None
            self._begun += 1
            return self._begun - 1

    def _may_begin(self) -> bool:
        over = self._stopped or self._begun == len(self._items)
        return over or self._begun < self._given + self._ahead + self._readers
