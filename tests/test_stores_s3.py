"""Stores on S3: buckets, credentials, large files, connections that break off."""

import os
from pathlib import Path
from typing import Any

import pytest

from cavmae import stores_s3
from cavmae.errors import InputError, StepFailed
from cavmae.stores import is_name, open_store
from tests.s3_service import READ_ONLY_KEY, S3Service


def test_a_whole_bucket_is_a_store_of_which_a_prefix_is_a_part(s3_server: S3Service) -> None:
    bucket = s3_server.bucket()
    whole, part = open_store(f"s3://{bucket}"), open_store(f"s3://{bucket}/a/")
    whole.write("a/b", b"1")
    assert list(whole.names()) == ["a/b"] and list(part.names()) == ["b"]
    assert part.read("b") == b"1" and part.uri("b") == whole.uri("a/b") == f"s3://{bucket}/a/b"


def test_names_that_others_put_there_are_listed_raw_and_never_as_names(s3_server: S3Service) -> None:
    bucket = s3_server.bucket()
    for key in ("in/a//b", "in/ok", "in/tab\there"):
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    store = open_store(f"s3://{bucket}/in")
    assert "tab\there" in [entry.name for entry in store.entries()]
    assert all(is_name(name) for name in store.names()) and "ok" in list(store.names())


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


def test_a_missing_bucket_is_wrong_input(s3_server: S3Service) -> None:
    for said in said_of("s3://t-no-such-bucket/p"):
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
    for said in said_of(f"s3://{bucket}/p"):
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
    for said in said_of("s3://some-bucket/p"):
        assert said.startswith("InputError: s3://some-bucket/p") and "no credentials" in said, said


def test_an_endpoint_that_cannot_be_reached_is_a_failure_and_one_that_is_none_is_wrong_input(
    s3_server: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(stores_s3, "_RETRIES", {"mode": "standard", "max_attempts": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for said in said_of("s3://some-bucket/p"):
        assert said.startswith("StepFailed: s3://some-bucket/p") and "cannot be reached" in said, said
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not an address")
    for said in said_of("s3://some-bucket/p"):
        assert said.startswith("InputError: s3://some-bucket/p"), said


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


def said_of(location: str) -> list[str]:
    """What reading, listing, writing and asking for a size say."""
    said = []
    store = open_store(location)
    for use in (lambda: store.size("a"), lambda: list(store.names()), lambda: store.write("a", b""), lambda: store.read("a")):
        with pytest.raises((InputError, StepFailed)) as raised:
            use()
        assert "\n" not in str(raised.value) and "not-a-secret" not in str(raised.value)
        said.append(f"{type(raised.value).__name__}: {raised.value}")
    return said
