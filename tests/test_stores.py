"""A store is the same thing in a folder and on a real S3 service, and says in one line what is wrong with either."""

import errno
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cavmae.errors import InputError, StepFailed
from cavmae.stores import Absent, Store, ahead, is_name, is_remote, open_store, read_text
from cavmae.stores_folder import FolderStore
from tests.s3_service import S3Service

BAD_NAMES = [
    "",
    ".",
    "..",
    "/etc/passwd",
    "../a",
    "a/../../b",
    "a//b",
    "a/",
    "a/./b",
    "a\nb",
    "a\x00b",
    "a\x7f",
    "\x9b1m",
    "x" * 1025,
    "\udcff",
]


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "deep" / "store"))
    service: S3Service = request.getfixturevalue("s3_server")
    return open_store(f"s3://{service.bucket()}/some/prefix")


def test_what_is_written_can_be_read_whole_in_part_and_into_a_file(store: Store, tmp_path: Path) -> None:
    assert (store.size("a/b.tar"), store.entry("a/b.tar"), store.read_tagged("a/b.tar")) == (None, None, None)
    store.write("a/b.tar", b"0123456789")
    assert (store.size("a/b.tar"), store.read("a/b.tar")) == (10, b"0123456789")
    assert [store.read_range("a/b.tar", *at) for at in ((0, 3), (7, 3), (8, 5), (3, 0), (10, 4), (50, 2))] == [
        b"012", b"789", b"89", b"", b"", b""
    ]  # fmt: skip
    store.fetch("a/b.tar", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == b"0123456789"
    (tmp_path / "other").write_bytes(b"other")
    store.put("a/b.tar", tmp_path / "other")
    assert store.read("a/b.tar") == b"other"
    store.delete("a/b.tar")
    store.delete("a/b.tar")
    assert store.size("a/b.tar") is None


def test_names_come_sorted_by_prefix_and_any_letters_go(store: Store) -> None:
    names = ["a.tar", "a/1", "a/2", "ab", "b/-rf", "b/ö ü%2F+&?#", "日本/'\"<x>", "b/'; drop"]
    for name in reversed(names):
        store.write(name, name.encode())
    assert list(store.names()) == sorted(names)
    assert list(store.names("a/")) == ["a/1", "a/2"]
    assert list(store.names("a")) == ["a.tar", "a/1", "a/2", "ab"]
    assert list(store.names("c")) == []
    assert [store.read(name).decode() for name in names] == names
    assert sorted((entry.name, entry.size) for entry in store.entries("a/")) == [("a/1", 3), ("a/2", 3)]


def test_the_mark_changes_with_the_content(store: Store) -> None:
    store.write("a", b"1")
    (first,) = store.entries()
    assert store.entry("a") == first
    store.delete("a")
    store.write("a", b"2")
    assert [entry.mark for entry in store.entries()] != [first.mark]


def test_a_write_on_condition_succeeds_once(store: Store) -> None:
    assert not store.write_if("p", b"0", "nothing-like-it")
    assert store.write_if("p", b"1", None)
    assert not store.write_if("p", b"2", None)
    content, tag = store.read_tagged("p") or (b"", "")
    assert content == b"1"
    assert store.write_if("p", b"3", tag)
    assert not store.write_if("p", b"4", tag)
    assert store.read("p") == b"3"


def test_of_many_writers_at_once_one_succeeds(store: Store) -> None:
    start = threading.Barrier(4)

    def race(number: int, expected: str | None) -> bool:
        start.wait()
        # contents never come again: a mark may stand for the content, and equal content is no change to be refused
        return store.write_if("p", f"{number} after {expected}".encode(), expected)

    store.size("p")
    with ThreadPoolExecutor(4) as pool:
        for expected in (None, "tag"):
            if expected:
                expected = (store.read_tagged("p") or (b"", ""))[1]
            won = list(pool.map(race, range(4), [expected] * 4))
            assert won.count(True) == 1
            assert store.read("p") == f"{won.index(True)} after {expected}".encode()


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name[:10]))
def test_a_name_that_leads_elsewhere_is_refused_by_everything(tmp_path: Path, name: str) -> None:
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "passwd").touch()
    assert not is_name(name)
    for use in (
        store.size, store.entry, store.read, store.read_tagged, store.delete, store.uri,
        lambda name: store.read_range(name, 0, 1),
        lambda name: store.write(name, b""),
        lambda name: store.write_if(name, b"", None),
        lambda name: store.put(name, tmp_path / "passwd"),
        lambda name: store.fetch(name, tmp_path / "copy"),
    ):  # fmt: skip
        with pytest.raises(InputError, match="is no name for a file"):
            use(name)
    assert sorted(os.listdir(tmp_path)) == ["passwd"]


def test_what_is_not_there_cannot_be_read(store: Store, tmp_path: Path) -> None:
    store.write("there", b"")
    for use in (store.read, lambda name: store.read_range(name, 0, 1), lambda name: store.fetch(name, tmp_path / "copy")):
        with pytest.raises(Absent, match="absent") as raised:
            use("absent")
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "copy").exists()


def test_a_failed_upload_and_a_failed_download_leave_nothing(store: Store, tmp_path: Path) -> None:
    store.write("a", b"old")
    with pytest.raises(OSError, match="No such file"):
        store.put("a", tmp_path / "nothing")
    assert store.read("a") == b"old"
    (tmp_path / "file").touch()
    with pytest.raises((OSError, InputError, StepFailed)):
        store.fetch("a", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_bytes() == b""


def test_uris_name_the_place(store: Store) -> None:
    assert store.uri("a/b") == f"{store.location}/a/b"
    assert is_remote(store.uri("a")) == store.location.startswith("s3://")


def test_a_copy_for_another_process_works_as_the_first(store: Store) -> None:
    store.write("a", b"1")
    copy: Store = pickle.loads(pickle.dumps(store))
    assert copy.read("a") == b"1" and copy.location == store.location


@pytest.mark.parametrize(
    "location",
    [
        "",
        "gs://bucket/a",
        "http://host/a",
        "file:///tmp",
        "S3://bucket",
        "s3://",
        "s3:///key",
        "s3://-/x",
        "s3://bu/../x",
        "s3://b t",
    ],
)
def test_a_location_that_is_none_is_wrong_input(location: str) -> None:
    with pytest.raises(InputError, match=r"no place for files|names no bucket|no name for a file"):
        open_store(location)


def test_a_folder_that_cannot_be_one_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = open_store(str(tmp_path / "file" / "below"))
    for use in (lambda: store.write("a", b""), lambda: store.write_if("a", b"", None)):
        with pytest.raises(InputError, match=rf"{tmp_path}/file.*name another folder"):
            use()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = open_store(str(tmp_path / "there"))
    assert list(store.entries()) == [], "one that is not there is empty"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Not a directory"):
        list(FolderStore(str(tmp_path / "file" / "x")).entries())
    store.write("a/b", b"1")

    def refuse(path: str) -> None:
        raise OSError(number, "refused", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises((InputError, StepFailed), match="there: refused"):
        list(store.entries())


def test_what_a_killed_writer_left_in_a_folder_is_no_file_of_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("a", b"1")
    (tmp_path / "b.4711.partial").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert list(store.names()) == ["a"]


def test_what_is_computed_ahead_comes_in_order_and_no_further_than_a_few_items_ahead() -> None:
    begun: list[int] = []

    def slow(item: int) -> int:
        begun.append(item)
        time.sleep(0.01 if item % 3 else 0.03)
        return item * 2

    results = ahead(slow, iter(range(1000)), 4)
    assert [next(results) for _ in range(10)] == [item * 2 for item in range(10)]
    assert len(begun) < 40
    results.close()  # type: ignore[attr-defined]
    before = threading.active_count()
    assert list(ahead(slow, range(5), 1)) == [0, 2, 4, 6, 8] and threading.active_count() == before


def test_the_first_error_of_what_is_computed_ahead_reaches_the_one_who_asks() -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise StepFailed("third")
        return item

    results = ahead(fail, range(100), 4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StepFailed, match="third"):
        next(results)


def test_a_text_is_read_from_either_place_and_one_that_is_none_is_wrong_input(s3_server: S3Service, tmp_path: Path) -> None:
    bucket = s3_server.bucket()
    for location in (str(tmp_path), f"s3://{bucket}/p"):
        store = open_store(location)
        store.write("a.csv", "\ufeffü\n".encode())
        store.write("b.csv", b"\xff\xfe")
        assert read_text(store.uri("a.csv")) == "ü\n"
        with pytest.raises(InputError, match=r"b\.csv: cannot be read as UTF-8 text"):
            read_text(store.uri("b.csv"))
        with pytest.raises(InputError, match=r"c\.csv: no such file"):
            read_text(store.uri("c.csv"))
