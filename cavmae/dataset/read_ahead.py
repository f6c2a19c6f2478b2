"""Telling the disk, or the cache of shards, which shards the batches of an epoch will need, in order."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cavmae.dataset.loader import ClipRecord, end_soon
from cavmae.dataset.shard_cache import Need, ShardCache
from cavmae.dataset.tar import Shard
from cavmae.stores_folder import FolderStore

_ANNOUNCED = 4  # shards that the disk may read before the first clip of them is wanted

Done = Callable[[int], None]  # hears the number of the batch up to which all have been read


@contextmanager
def reading_ahead(
    clips: Sequence[ClipRecord], batches: Sequence[Sequence[int]], sequential: bool, cache: ShardCache
) -> Iterator[Done]:
    """While the context lasts, bring the shards of `clips` near in the order in which `batches` (indexes) will need them.

    Yields what is to be told how far the batches are read. That is done where shards are read one after another (`sequential`) or
    are no more than the cache may hold; otherwise their clips are better asked for one by one. Threads end with the context.
    """
    if not sequential and _size(clips) > cache.limit:
        yield lambda batch: None
        return
    needs = needs_of(clips, batches)
    local = [need for need in needs if isinstance(need.shard.store, FolderStore)]
    remote = [need for need in needs if not isinstance(need.shard.store, FolderStore)]
    with ExitStack() as stack:
        told: list[Done] = []
        if local:
            told.append(stack.enter_context(_announcing(local)))
        if remote:
            stack.enter_context(cache.expecting(remote))
            told.append(cache.done)

        def done(batch: int) -> None:
            for tell in told:
                tell(batch)

        yield done


def needs_of(clips: Sequence[ClipRecord], batches: Sequence[Sequence[int]]) -> list[Need]:
    """The shards that batches of clip indexes need, in order of first need, with the first and the last batch that does."""
    found: dict[Shard, Need] = {}
    for number, batch in enumerate(batches):
        for shard in {clips[index].shard: None for index in batch}:
            found[shard] = Need(shard, found[shard].first if shard in found else number, number)
    return list(found.values())


def _size(clips: Sequence[ClipRecord]) -> int:
    return sum(shard.bytes or 0 for shard in {clip.shard: None for clip in clips})


@contextmanager
def _announcing(needs: Sequence[Need]) -> Iterator[Done]:
    """A thread that has the disk read whole shards, a few before they are needed."""
    changed = threading.Condition()
    reached, stopped = 0, False

    def announce() -> None:
        for number, need in enumerate(needs):
            before = needs[max(number - _ANNOUNCED, 0)].first
            with changed:
                while not stopped and before > reached:
                    changed.wait()
                if stopped:
                    return
            with suppress(OSError):  # whoever reads the shard says what is wrong with it
                _advise(Path(need.shard.store.location, need.shard.name))

    def done(batch: int) -> None:
        nonlocal reached
        with changed:
            reached = batch + 1
            changed.notify_all()

    thread = threading.Thread(target=announce, daemon=True, name="announce")
    thread.start()
    try:
        yield done
    finally:
        with changed:
            stopped = True
            changed.notify_all()
        end_soon([thread])


def _advise(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(handle)
