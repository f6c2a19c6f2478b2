"""Clips of a validated data set, and the batches of an epoch: a function of seed, epoch and data set alone."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
log = logging.getLogger(__name__)


@dataclass(frozen=True)
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
        for name, record in zip(names, shelf.records(names), strict=True):
            members[name] = record["members"]
            self.longest_s = max([self.longest_s, *(facts["duration_s"] for facts in record["facts"])])
        self.splits: dict[str, list[ClipRecord]] = {"train": [], "val": [], "test": []}
        for row in read_rows(folder / "clips.parquet", CLIPS):
            offset, length = members[row["shard"]][row["video_id"]]
            labels = tuple(sorted(position[name] for name in row["labels"]))
            shard = shelf.shard(row["shard"])
            clip = ClipRecord(row["video_id"], row["path"], row["group"], labels, shard, offset, length, row["weight"])
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


def epoch_order(count: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return clip indexes [count] of an epoch: a permutation, or with `weights` [count] draws with replacement."""
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    if weights is None:
        return rng.permutation(count)
    return rng.choice(count, size=count, p=weights / weights.sum())


def balance_weights(clips: Sequence[ClipRecord]) -> np.ndarray:
    """Sampling weights [N]: those that came with the clips, where every clip has one.

    Else, for each clip, the sum over its labels of 1000 / (clips with the label + 0.01), as the original computes them.
    """
    given = [clip.weight for clip in clips if clip.weight is not None]
    if clips and len(given) == len(clips):
        return np.array(given)
    frequency = Counter(label for clip in clips for label in clip.labels)
    return np.array([sum(1000.0 / (frequency[label] + 0.01) for label in clip.labels) for clip in clips])


class Prefetch(Generic[T]):
    """Compute `make(item)` for each item in a thread, up to `ahead` results before they are asked for."""

    def __init__(self, items: Sequence[Sequence[int]], make: Callable[[Sequence[int]], T], ahead: int = 2) -> None:
        self._queue: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(items, make), daemon=True)
        self._thread.start()

    def _work(self, items: Sequence[Sequence[int]], make: Callable[[Sequence[int]], T]) -> None:
        try:
            for item in items:
                if self._stop.is_set():
                    return
                self._put(make(item))
            self._put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            self._put(error)

    def _put(self, value: T | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(value, timeout=0.1)
            except queue.Full:
                continue
            return

    def __iter__(self) -> Iterator[T]:
        try:
            while (value := self._queue.get()) is not None:
                if isinstance(value, BaseException):
                    raise value
                yield value
        finally:
            self._stop.set()
            self._thread.join()
