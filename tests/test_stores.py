"""A store is the same thing in a folder and on a real S3 service, and says in one line what is wrong with either."""

import errno
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cavmae import stores_s3
from cavmae.errors import InputError, StepFailed
from cavmae.stores import Absent, Store, ahead, is_name, is_remote, open_store, read_text
from cavmae.stores_folder import FolderStore
from tests.s3_service import READ_ONLY_KEY, S3Service

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


def test_a_whole_bucket_is_a_store_of_which_a_prefix_is_a_part(s3_server: S3Service) -> None:
    bucket = s3_server.bucket()
    whole, part = open_store(f"s3://{bucket}"), open_store(f"s3://{bucket}/a/")
    whole.write("a/b", b"1")
    assert list(whole.names()) == ["a/b"] and list(part.names()) == ["b"]
    assert part.read("b") == b"1" and part.uri("b") == whole.uri("a/b") == f"s3://{bucket}/a/b"


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


def test_names_that_others_put_there_are_listed_raw_and_never_as_names(s3_server: S3Service) -> None:
    bucket = s3_server.bucket()
    for key in ("in/a//b", "in/ok", "in/tab\there"):
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    store = open_store(f"s3://{bucket}/in")
    assert "tab\there" in [entry.name for entry in store.entries()]
    assert all(is_name(name) for name in store.names()) and "ok" in list(store.names())


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


def test_large_files_go_in_parts(s3_server: S3Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_s3, "_PART", 5 << 20)
    content = os.urandom(12 << 20)
    (tmp_path / "large").write_bytes(content)
    store = open_store(f"s3://{s3_server.bucket()}/p")
    store.put("large", tmp_path / "large")
    entry = store.entry("large")
    assert entry is not None and entry.mark.endswith("-3"), "the etag counts the parts"
    store.fetch("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert store.read_range("large", (5 << 20) - 3, 6) == content[(5 << 20) - 3 : (5 << 20) + 3]


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


def _says(location: str) -> list[str]:
    """What reading, listing, writing and asking for a size say."""
    said = []
    store = open_store(location)
    for use in (lambda: store.size("a"), lambda: list(store.names()), lambda: store.write("a", b""), lambda: store.read("a")):
        with pytest.raises((InputError, StepFailed)) as raised:
            use()
        assert "\n" not in str(raised.value) and "not-a-secret" not in str(raised.value)
        said.append(f"{type(raised.value).__name__}: {raised.value}")
    return said


def test_a_missing_bucket_is_wrong_input(s3_server: S3Service) -> None:
    for said in _says("s3://t-no-such-bucket/p"):
        assert said.startswith("InputError: s3://t-no-such-bucket: there is no such bucket"), said


@pytest.mark.parametrize(
    "changed",
    [{"AWS_ACCESS_KEY_ID": "stranger"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}],
    ids=["unknown key", "wrong secret"],
)
def test_credentials_that_are_refused_are_wrong_input(
    s3_server: S3Service, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    bucket = s3_server.bucket()
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    for said in _says(f"s3://{bucket}/p"):
        assert said.startswith(f"InputError: s3://{bucket}/p") and "access is denied" in said, said


def test_who_may_only_read_cannot_write(s3_server: S3Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    location = f"s3://{s3_server.bucket()}/p"
    open_store(location).write("a", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READ_ONLY_KEY)
    store = open_store(location)
    assert (store.read("a"), store.size("a"), store.size("b")) == (b"1", 1, None)
    for use in (
        lambda: store.write("b", b""),
        lambda: store.write_if("b", b"", None),
        lambda: store.put("b", Path(__file__)),
        lambda: store.delete("a"),
    ):
        with pytest.raises(InputError, match=r"s3://.*/p/[ab]: access is denied"):
            use()


def test_no_credentials_are_wrong_input(s3_server: S3Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for said in _says("s3://some-bucket/p"):
        assert said.startswith("InputError: s3://some-bucket/p") and "no credentials" in said, said


def test_an_endpoint_that_cannot_be_reached_is_a_failure_and_one_that_is_none_is_wrong_input(
    s3_server: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(stores_s3, "_RETRIES", {"mode": "standard", "max_attempts": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for said in _says("s3://some-bucket/p"):
        assert said.startswith("StepFailed: s3://some-bucket/p") and "cannot be reached" in said, said
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not an address")
    for said in _says("s3://some-bucket/p"):
        assert said.startswith("InputError: s3://some-bucket/p"), said


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


class Stumbling:
    """A connection that fails at the first call of a method, as `how` says, and passes the others on."""

    def __init__(self, client: Any, method: str, how: Any) -> None:
        self._client, self._method, self._how, self.calls = client, method, how, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name != self._method:
            return real

        def call(**given: Any) -> Any:
            self.calls += 1
            return self._how(real, given) if self.calls == 1 else real(**given)

        return call


def test_a_transfer_that_breaks_off_is_begun_again(s3_server: S3Service) -> None:
    from botocore.exceptions import IncompleteReadError

    store = open_store(f"s3://{s3_server.bucket()}/p")
    store.write("a", b"0123456789")

    def breaks_off(real: Any, given: dict[str, Any]) -> Any:
        raise IncompleteReadError(actual_bytes=3, expected_bytes=10)

    connection = Stumbling(s3_server.client(), "get_object", breaks_off)
    store._started = connection  # type: ignore[attr-defined]
    assert store.read("a") == b"0123456789" and connection.calls == 2
    connection.calls = 0
    assert store.read_range("a", 2, 3) == b"234"


def test_a_write_on_condition_whose_answer_was_lost_counts_as_done(s3_server: S3Service) -> None:
    from botocore.exceptions import ClientError

    store = open_store(f"s3://{s3_server.bucket()}/p")

    def answer_is_lost(real: Any, given: dict[str, Any]) -> Any:
        """boto3 asks again, and the second try meets what the first wrote."""
        real(**given)
        refusal = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"RetryAttempts": 1}}
        raise ClientError(refusal, "PutObject")  # type: ignore[arg-type]

    store._started = Stumbling(s3_server.client(), "put_object", answer_is_lost)  # type: ignore[attr-defined]
    assert store.write_if("p", b"mine", None)
    assert not store.write_if("p", b"other", None)


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


def test_a_download_that_breaks_off_too_often_is_told_of_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3transfer.exceptions import RetriesExceededError

    class Client:
        def download_fileobj(self, *words: object, **more: object) -> None:
            raise RetriesExceededError(ConnectionResetError("reset"))

    store = open_store("s3://bucket/x")
    monkeypatch.setattr(store, "_started", Client())
    with pytest.raises(StepFailed, match="s3://bucket/x/a"):
        store.fetch("a", tmp_path / "a")
    assert not list(tmp_path.iterdir())
