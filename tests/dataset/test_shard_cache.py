"""The cache of shards: bounded, fetched once, shared, and no obstacle where it cannot help."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset import shard_cache
from cavmae.dataset.cache_folder import CacheFolder
from cavmae.dataset.shard_cache import Need, ShardCache
from cavmae.dataset.tar import Shard
from cavmae.errors import InputError, StepFailed
from cavmae.locking import holding
from tests.dataset.remote import Remote
from tests.threads import ended

SIZE = 1000


@pytest.fixture
def remote() -> Remote:
    return Remote({f"s{number}.tar": bytes([number]) * SIZE for number in range(10)})


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert ended(before)


def in_turn(shards: list[Shard]) -> list[Need]:
    """Batch number n needs shard number n alone."""
    return [Need(shard, number, number) for number, shard in enumerate(shards)]


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.tar"))


def taken(cache: ShardCache, remote: Remote) -> int:
    """Bytes of all files and of what is being read, at a moment when nothing is given room or removed."""
    with holding(cache.folder):
        sizes = {name.removesuffix(".tar"): SIZE for name in list(remote.reading)}
        for path in cache.folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix in (".tar", ".partial"):
                    name = path.name.rsplit("-", 1)[0]
                    sizes[name] = max(sizes.get(name, 0), path.stat().st_size)
    return sum(sizes.values())


def content(cache: ShardCache, shard: Shard) -> bytes | None:
    path = cache.path(shard)
    return None if path is None else path.read_bytes()


def test_shards_are_fetched_once_and_kept_over_epochs_where_all_fit(tmp_path: Path, remote: Remote) -> None:
    cache = ShardCache(tmp_path / "cache", 10 * SIZE)
    for _ in range(3):
        with cache.expecting(in_turn(remote.shards())):
            for number, shard in enumerate(remote.shards()):
                assert content(cache, shard) == remote.contents[shard.name]
                cache.done(number)
    assert sorted(remote.read_names) == sorted(remote.contents)


def test_the_folder_never_holds_more_than_it_may_and_every_shard_still_comes(tmp_path: Path, remote: Remote) -> None:
    cache, shards = ShardCache(tmp_path / "cache", 3 * SIZE), remote.shards()
    sizes: list[int] = []
    remote.on_read = lambda name: sizes.append(taken(cache, remote))
    for _ in range(2):
        with cache.expecting(in_turn(shards)):
            for number, shard in enumerate(shards):
                assert content(cache, shard) == remote.contents[shard.name]
                cache.done(number)
                sizes.append(taken(cache, remote))
    assert max(sizes) <= 3 * SIZE
    assert len(remote.read_names) > 10, "what made room is fetched again"


def test_what_is_being_fetched_has_its_room_before_it_is_there(tmp_path: Path, remote: Remote) -> None:
    cache, shards = ShardCache(tmp_path / "cache", 3 * SIZE), remote.shards()
    under_way, go = threading.Semaphore(0), threading.Event()

    def hold(name: str) -> None:
        under_way.release()
        assert go.wait(60)

    remote.on_read = hold
    with cache.expecting(in_turn(shards)):
        for _ in range(3):
            assert under_way.acquire(timeout=60)
        assert cache.path(shards[3]) is None, "room was looked for and not found"
        assert sorted(remote.read_names) == ["s0.tar", "s1.tar", "s2.tar"] and len(remote.reading) == 3
        go.set()


def test_who_waits_for_a_shard_that_finds_no_room_reads_it_elsewhere(tmp_path: Path, remote: Remote) -> None:
    cache = ShardCache(tmp_path / "cache", 2 * SIZE)
    shards = remote.shards()
    with cache.expecting([Need(shard, 0, 9) for shard in shards]):  # nothing is done with before the end
        found = [content(cache, shard) for shard in shards]
    assert found[:2] == [remote.contents["s0.tar"], remote.contents["s1.tar"]] and found[2:] == [None] * 8


def test_the_next_shards_come_before_they_are_asked_for(tmp_path: Path, remote: Remote) -> None:
    cache = ShardCache(tmp_path / "cache", 10 * SIZE)
    arrived = threading.Event()
    remote.on_read = lambda name: arrived.set() if name == "s9.tar" else None
    with cache.expecting(in_turn(remote.shards())):
        assert arrived.wait(30)


def test_shards_that_are_not_expected_too_large_or_without_a_hash_are_read_elsewhere(tmp_path: Path, remote: Remote) -> None:
    cache = ShardCache(tmp_path / "cache", SIZE - 1)
    shards = remote.shards()
    assert cache.path(shards[0]) is None
    with cache.expecting(in_turn(shards)):
        assert cache.path(shards[0]) is None
    cache = ShardCache(tmp_path / "cache", 10 * SIZE)
    with cache.expecting([Need(Shard(remote, "s1.tar"), 0, 0)]):
        assert cache.path(Shard(remote, "s1.tar")) is None
    assert remote.read_names == []


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


def test_who_wants_a_mixup_partner_takes_what_is_here_and_waits_for_nothing(tmp_path: Path, remote: Remote) -> None:
    cache, shards = ShardCache(tmp_path / "cache", 2 * SIZE), remote.shards()[:4]
    go, begun = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "s1.tar":
            begun.set()
            assert go.wait(60)

    remote.on_read = hold
    with cache.expecting(in_turn(shards)):
        assert begun.wait(60)
        assert cache.path(shards[1], waits=False) is None, "on its way"
        assert cache.path(shards[2], waits=False) is None and cache.path(shards[3], waits=False) is None, "without room as yet"
        path = cache.path(shards[0])
        assert path is not None and cache.path(shards[0], waits=False) == path
        go.set()
        assert content(cache, shards[1]) == remote.contents["s1.tar"]
    with cache.expecting(in_turn(shards[:2])):
        assert cache.path(shards[0]) == path and cache.path(shards[1]) is not None
        cache.done(1)
        for waits in (True, False):
            assert cache.path(shards[0], waits=waits) == path, "no longer expected, but here"
        path.unlink()
        assert cache.path(shards[0], waits=False) is None
    assert ShardCache(tmp_path / "cache", 0).path(shards[1]) is None, "no cache is wanted"


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


def test_wrong_and_missing_content_is_said_by_who_asks_for_it(tmp_path: Path, remote: Remote) -> None:
    cache = ShardCache(tmp_path / "cache", 10 * SIZE)
    shards = remote.shards()
    remote.contents["s0.tar"] = b"other" * 200
    remote.contents["s1.tar"] = b"short"
    remote.delete("s2.tar")

    def fail(name: str) -> None:
        if name == "s3.tar":
            raise StepFailed("s3://bucket/shards/s3.tar: the service cannot be reached (timed out); run the command again")

    remote.on_read = fail
    with cache.expecting(in_turn(shards)):
        for shard, says in zip(
            shards,
            ["is not what its record says", "is not what its record says", "shard is missing", "cannot be reached"],
            strict=False,
        ):
            with pytest.raises(StepFailed, match=f"{remote.uri(shard.name)}: .*{says}"):
                cache.path(shard)
        assert content(cache, shards[4]) == remote.contents["s4.tar"]
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_leaving_early_stops_what_is_being_fetched(tmp_path: Path, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_cache, "_BLOCK", 100)
    before, cache = threading.active_count(), ShardCache(tmp_path / "cache", 10 * SIZE)
    begun, go = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        begun.set()
        assert go.wait(60)

    remote.on_read = hold
    with cache.expecting(in_turn(remote.shards())):
        assert begun.wait(60)
    go.set()
    assert ended(before) and not list((tmp_path / "cache").iterdir())
    assert len(remote.read_names) == len(set(remote.read_names)) <= 8, "no second block of any"


def test_a_thread_that_cannot_be_started_is_what_is_said(tmp_path: Path, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, []

    def failing(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    cache = ShardCache(tmp_path / "cache", 10 * SIZE)
    monkeypatch.setattr(threading.Thread, "start", failing)
    with pytest.raises(RuntimeError, match="can't start new thread"), cache.expecting(in_turn(remote.shards())):
        pass


def test_a_folder_that_cannot_be_written_is_told_of_once_and_shards_are_read_elsewhere(
    tmp_path: Path, remote: Remote, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = ShardCache(tmp_path / "file" / "cache", 10 * SIZE)
    for _ in range(2):
        with cache.expecting(in_turn(remote.shards())):
            assert cache.path(remote.shards()[0]) is None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cavmae.dataset.cache_folder.os.ftruncate", full)
    cache = ShardCache(tmp_path / "full", 10 * SIZE)
    with cache.expecting(in_turn(remote.shards())):
        assert [cache.path(shard) for shard in remote.shards()] == [None] * 10
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2 and "cannot be used as a cache of shards (Not a directory)" in said[0] and "No space left" in said[1]


def test_the_environment_says_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path))
    assert (ShardCache.of_environment().folder, ShardCache.of_environment().limit) == (tmp_path / "shards", 20_000_000_000)
    monkeypatch.setenv("CAVMAE_CACHE", "/elsewhere")
    monkeypatch.setenv("CAVMAE_CACHE_GB", "0.5")
    assert (ShardCache.of_environment().folder, ShardCache.of_environment().limit) == (
        Path("/elsewhere/cavmae-shards"),
        500_000_000,
    )
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("CAVMAE_CACHE_GB", wrong)
        with pytest.raises(InputError, match=f"CAVMAE_CACHE_GB is '{wrong}'; give a number of gigabytes"):
            ShardCache.of_environment()
