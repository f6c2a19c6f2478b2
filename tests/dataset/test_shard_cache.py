"""The cache of shards: bounded, fetched once, shared, and no obstacle where it cannot help."""

import logging
import threading
from pathlib import Path

import pytest

from cavmae.dataset import shard_cache
from cavmae.dataset.shard_cache import Need, ShardCache
from cavmae.dataset.tar import Shard
from cavmae.errors import InputError, StepFailed
from tests.dataset.cached import SIZE, content, in_turn, taken
from tests.dataset.remote import Remote
from tests.threads import ended

pytestmark = pytest.mark.usefixtures("no_thread_stays")


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
