"""The cache of shards between processes: shards in use, on their way, removed, and what killed processes left."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset.cache_folder import CacheFolder
from cavmae.dataset.shard_cache import Need, ShardCache
from tests.dataset.cached import SIZE, content, held, in_turn
from tests.dataset.remote import Remote
from tests.threads import ended

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_processes_of_a_machine_fetch_a_shard_once_between_them(tmp_path: Path, remote: Remote) -> None:
    caches = [ShardCache(tmp_path / "cache", 10 * SIZE) for _ in range(3)]
    shards = remote.shards()
    together = threading.Barrier(3)
    errors: list[BaseException] = []

    def run(cache: ShardCache) -> None:
        try:
            with cache.expecting(in_turn(shards)):
                together.wait(30)
                for number, shard in enumerate(shards):
                    assert content(cache, shard) == remote.contents[shard.name]
                    cache.done(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and sorted(remote.read_names) == sorted(remote.contents)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".tar"] * 10


def test_a_shard_that_another_process_removed_is_fetched_again_when_it_is_expected(tmp_path: Path, remote: Remote) -> None:
    cache = ShardCache(tmp_path / "cache", 10 * SIZE)
    for _ in range(2):
        with cache.expecting(in_turn(remote.shards()[:1])):
            path = cache.path(remote.shards()[0])
            assert path is not None
            path.unlink()
    assert remote.read_names == ["s0.tar"] * 2


def test_what_killed_processes_left_neither_blocks_nor_stays(tmp_path: Path, remote: Remote) -> None:
    shards, folder = remote.shards(), tmp_path / "cache"
    cache = ShardCache(folder, 2 * SIZE)
    folder.mkdir()
    for shard in [*shards[:2], shards[7], shards[8]]:
        name = cache._folder.place(shard).name
        if shard is not shards[8]:
            (folder / f"{name}.reserved").write_bytes(b"\0" * 2 * SIZE)  # whose lock ended with its process
        (folder / f"{name}.77.partial").write_bytes(b"half")
    with cache.expecting(in_turn(shards[:3])):
        for number, shard in enumerate(shards[:3]):
            assert content(cache, shard) == remote.contents[shard.name]
            cache.done(number)
    assert all(path.suffix == ".tar" for path in folder.iterdir()) and held(folder) <= 2 * SIZE


def test_who_fetches_a_shard_removes_what_a_killed_process_left_of_it_even_without_room(tmp_path: Path, remote: Remote) -> None:
    folder = CacheFolder(tmp_path, SIZE)
    place = folder.place(remote.shards()[0])
    left = place.with_name(f"{place.name}.77.partial")
    left.write_bytes(b"half")
    with folder.reservation(place) as handle:
        assert handle is not None and not left.exists()


def test_what_is_written_without_room_of_its_own_counts(tmp_path: Path, remote: Remote) -> None:
    folder = CacheFolder(tmp_path, 3 * SIZE)
    first, second = (folder.place(shard) for shard in remote.shards()[:2])
    with folder.reservation(first) as one, folder.reservation(second) as other:
        assert one is not None and other is not None
        assert folder.make_room(SIZE, one, (), {})
        partial = first.with_name(f"{first.name}.77.partial")
        partial.write_bytes(b"x" * 2 * SIZE + b"x")  # more than was asked for
        assert not folder.make_room(SIZE, other, (), {})
        partial.write_bytes(b"x" * 2 * SIZE)
        assert folder.make_room(SIZE, other, (), {})


def test_files_that_are_not_the_caches_stay_and_do_not_count(tmp_path: Path, remote: Remote) -> None:
    shards, folder = remote.shards(), tmp_path / "cache"
    cache = ShardCache(folder, SIZE)
    folder.mkdir()
    (tmp_path / "elsewhere").write_bytes(remote.contents["s5.tar"])
    for name in ("data.tar", "data-0123.tar", "data.tar.12.partial", "data-0123456789abcdef.tar.x.partial", "mine.reserved"):
        (folder / name).write_bytes(b"x" * 5 * SIZE)
        os.utime(folder / name, (0, 0))
    for name in ("x.tar", "x-0123456789abcdef.tar", "y-0123456789abcdef.tar.reserved", "y-0123456789abcdef.tar.1.partial"):
        (folder / name).mkdir()
    for name in ("z-0123456789abcdef.tar", "z-0123456789abcdef.tar.reserved", cache._folder.place(shards[5]).name):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    cache._folder.place(shards[6]).mkdir()
    before = set(folder.iterdir())
    with cache.expecting(in_turn(shards)):
        for number, shard in enumerate(shards):
            assert content(cache, shard) == (None if number in (5, 6) else remote.contents[shard.name])
            cache.done(number)
    assert before < set(folder.iterdir()) and (tmp_path / "elsewhere").read_bytes() == remote.contents["s5.tar"]


def test_a_shard_that_another_process_uses_stays(tmp_path: Path, remote: Remote) -> None:
    one, other = ShardCache(tmp_path / "cache", 2 * SIZE), ShardCache(tmp_path / "cache", 2 * SIZE)
    shards = remote.shards()
    with one.expecting(in_turn(shards[:2])):
        used = [one.path(shard) for shard in shards[:2]]
        with other.expecting(in_turn(shards[5:8])):
            assert [other.path(shard) for shard in shards[5:8]] == [None] * 3
        assert all(path is not None and path.is_file() for path in used)


def test_who_waits_for_room_does_not_keep_a_shard_from_another_process(tmp_path: Path, remote: Remote) -> None:
    one, other = ShardCache(tmp_path / "cache", SIZE), ShardCache(tmp_path / "cache", SIZE)
    shards = remote.shards()
    refused, make_room = threading.Event(), CacheFolder.make_room

    def watched(folder: CacheFolder, *given: Any) -> bool:
        found = make_room(folder, *given)
        if not found and folder is one._folder:
            refused.set()
        return found

    found: list[Path | None] = []
    with pytest.MonkeyPatch.context() as patch, one.expecting([Need(shards[0], 0, 9), Need(shards[1], 1, 9)]):
        patch.setattr(CacheFolder, "make_room", watched)
        assert content(one, shards[0]) == remote.contents["s0.tar"]
        assert refused.wait(60)  # its room for s1 comes with done(9)
        with other.expecting([Need(shards[1], 0, 9)]):
            asking = threading.Thread(target=lambda: found.append(other.path(shards[1])), daemon=True)
            asking.start()
            asking.join(60)
            assert found == [None]


def test_a_shard_that_another_process_fetches_is_on_its_way_and_the_next_are_still_waited_for(
    tmp_path: Path, remote: Remote
) -> None:
    one, other = ShardCache(tmp_path / "cache", SIZE), ShardCache(tmp_path / "cache", SIZE)
    shards = remote.shards()
    begun, go, refused = threading.Event(), threading.Event(), threading.Semaphore(0)
    make_room = CacheFolder.make_room

    def watched(folder: CacheFolder, *given: Any) -> bool:
        found = make_room(folder, *given)
        if not found and folder is other._folder:
            refused.release()
        return found

    def hold(name: str) -> None:
        begun.set()
        assert go.wait(60)

    remote.on_read = hold
    found: list[bytes | None] = []
    with pytest.MonkeyPatch.context() as patch, one.expecting([Need(shards[0], 0, 0)]):
        patch.setattr(CacheFolder, "make_room", watched)
        assert begun.wait(60)
        with other.expecting([Need(shards[0], 0, 0), Need(shards[1], 1, 1)]):
            asking = threading.Thread(target=lambda: found.append(content(other, shards[0])), daemon=True)
            asking.start()
            for _ in range(4):  # attempts at room for s1, while who reads waits for s0
                assert refused.acquire(timeout=60)
            go.set()
            asking.join(60)
            one.done(0)
            other.done(0)
            assert content(other, shards[1]) == remote.contents["s1.tar"]
    assert found == [remote.contents["s0.tar"]]


def test_what_a_run_used_is_free_for_others_when_it_ends_early_and_when_it_came_late(tmp_path: Path, remote: Remote) -> None:
    shards, before = remote.shards(), threading.active_count()
    for late in (False, True):
        cache, other = (ShardCache(tmp_path / f"cache-{late}", SIZE) for _ in range(2))
        begun, go = threading.Event(), threading.Event()

        def hold(name: str, begun: threading.Event = begun, go: threading.Event = go) -> None:
            begun.set()
            assert go.wait(60)

        remote.on_read = hold
        with cache.expecting([Need(shards[0], 0, 9)]):
            assert begun.wait(60)
            if late:
                cache.done(9)
            go.set()
            while not (path := cache._folder.place(shards[0])).exists():
                time.sleep(0.01)
            assert cache.path(shards[0]) == path
        assert ended(before)
        with other.expecting([Need(shards[1], 0, 0)]):
            assert content(other, shards[1]) == remote.contents["s1.tar"]


def test_a_shard_is_free_only_when_the_last_of_its_users_has_done_with_it(tmp_path: Path, remote: Remote) -> None:
    one, other, third = (ShardCache(tmp_path / "cache", SIZE) for _ in range(3))
    shards = remote.shards()
    with one.expecting(in_turn(shards[:1])):
        path = one.path(shards[0])
        assert path is not None
        with other.expecting(in_turn(shards[:1])):
            assert other.path(shards[0]) == path
            one.done(0)
            with third.expecting(in_turn(shards[1:2])):
                assert third.path(shards[1]) is None and path.exists()
            other.done(0)
            with third.expecting(in_turn(shards[1:2])):
                assert third.path(shards[1]) is not None and not path.exists()


def test_the_mark_of_a_shard_in_use_is_renewed_from_time_to_time(tmp_path: Path, remote: Remote) -> None:
    cache, shards = ShardCache(tmp_path / "cache", SIZE), remote.shards()
    with cache.expecting(in_turn(shards[:1])), pytest.MonkeyPatch.context() as patch:
        path = cache.path(shards[0])
        assert path is not None
        first, now = path.stat().st_mtime_ns, time.time_ns()
        for minutes, renewed in ((5, False), (11, True), (15, False), (22, True)):
            before = path.stat().st_mtime_ns
            patch.setattr("cavmae.dataset.cache_folder.time.time_ns", lambda minutes=minutes: now + minutes * 60 * 10**9)
            assert cache.path(shards[0]) == path
            assert (path.stat().st_mtime_ns > before) == renewed
        assert path.stat().st_mtime_ns > first
        cache.done(0)
        assert path.stat().st_mtime_ns == 0
