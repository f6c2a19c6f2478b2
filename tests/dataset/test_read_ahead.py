"""Shards come near in the order in which batches need them; what cannot be helped is left alone."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cavmae.dataset import read_ahead
from cavmae.dataset.clip_reader import ClipReader, Wanted
from cavmae.dataset.loader import ClipRecord
from cavmae.dataset.read_ahead import needs_of, reading_ahead
from cavmae.dataset.shard_cache import ShardCache
from cavmae.dataset.tar import Shard
from cavmae.stores import open_store
from tests.dataset.remote import Remote
from tests.dataset.test_clip_reader import CLIPS, written
from tests.threads import ended


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert ended(before)


def of_shards(shards: list[Shard], each: int) -> list[ClipRecord]:
    return [ClipRecord(f"{shard.name}-{number}", "", "", (), shard, 0, 0) for shard in shards for number in range(each)]


def test_needs_name_the_first_and_the_last_batch_of_each_shard() -> None:
    shards = [Shard(open_store("x"), f"{number}.tar") for number in range(3)]
    clips = of_shards(shards, 4)
    assert needs_of(clips, [[4, 0], [1, 5], [8], [2]]) == [(shards[1], 0, 1), (shards[0], 0, 3), (shards[2], 2, 2)]
    assert needs_of(clips, [[], [9]]) == [(shards[2], 1, 1)] and needs_of(clips, []) == []


def test_shards_of_this_machine_are_announced_in_order_and_a_few_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [Shard(open_store(str(tmp_path)), f"{number}.tar") for number in range(10)]
    for shard in shards[1:]:  # one is missing: who reads it will say so
        (tmp_path / shard.name).write_bytes(b"x")
    seen: list[str] = []
    changed = threading.Condition()
    advise = read_ahead._advise

    def recorded(path: Path) -> None:
        with changed:
            seen.append(path.name)
            changed.notify_all()
        advise(path)

    def wait_for(count: int) -> None:
        with changed:
            assert changed.wait_for(lambda: len(seen) >= count, 30)

    monkeypatch.setattr(read_ahead, "_advise", recorded)
    clips, cache = of_shards(shards, 1), ShardCache(tmp_path / "cache", 0)
    with reading_ahead(clips, [[number] for number in range(10)], True, cache) as done:
        wait_for(5)
        done(1)
        wait_for(7)
        done(8)
        wait_for(10)
    assert seen == [shard.name for shard in shards] and not cache.folder.exists()
    seen.clear()
    with reading_ahead(clips, [[number] for number in range(10)], True, cache):
        wait_for(5)
    assert len(seen) == 5, "no more than a few ahead"


def test_what_is_read_at_random_and_does_not_fit_is_asked_for_clip_by_clip(tmp_path: Path) -> None:
    remote = Remote({f"{number}.tar": b"x" * 1000 for number in range(4)})
    clips = of_shards(remote.shards(), 2)
    for sequential, limit, expected in ((False, 3999, 0), (False, 4000, 4), (True, 1000, 4)):
        remote.read_names.clear()
        cache = ShardCache(tmp_path / f"{sequential}-{limit}", limit)
        with reading_ahead(clips, [[0, 2], [4, 6]], sequential, cache) as done:
            for batch in range(2):
                for index in (4 * batch, 4 * batch + 2):
                    cache.path(clips[index].shard)
                done(batch)
        assert len(remote.read_names) <= expected and bool(remote.read_names) == bool(expected)


def test_a_reader_finds_in_the_cache_what_lies_in_the_store(tmp_path: Path) -> None:
    remote = Remote({})
    clips = written(CLIPS, remote)
    cache = ShardCache(tmp_path / "cache", 1 << 20)
    wanted = [Wanted(clip, 0.3) for clip in clips]
    plain, cached = (np.zeros((len(clips), 700), np.int16) for _ in range(2))
    expected = list(ClipReader().read(wanted, plain))
    remote.read_names.clear()
    with reading_ahead(clips, [[0, 1], [2, 3]], True, cache) as done:
        assert list(ClipReader(cache).read(wanted, cached)) == expected and np.array_equal(plain, cached)
        assert remote.read_names == ["s.tar"], "once, as a whole"
        path = cache.path(clips[0].shard)
        assert path is not None
        path.unlink()  # another process made room
        assert list(ClipReader(cache).read(wanted, cached)) == expected
        done(1)
    assert len(remote.read_names) == 1 + len(clips)
