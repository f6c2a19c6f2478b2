"""Paths that `run` is given: tasks have another current folder, and containers cannot be given every work folder."""

from pathlib import Path

import pytest

from cavmae.errors import InputError
from pipelines.local_runs import absolute, checked_work


def test_paths_of_this_machine_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("../videos/") == str(tmp_path.parent / "videos") and absolute("~/v") == "/home/me/v"
    assert [absolute(value) for value in ("", "sample", "s3://b/x/", 3)] == ["", "sample", "s3://b/x/", 3]


def test_a_work_folder_that_containers_cannot_be_given_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="colon"):
        checked_work(Path("a:b"), "docker")
    assert checked_work(Path("a:b"), "subprocess") == tmp_path / "a:b"
    assert checked_work(Path("a b"), "docker") == tmp_path / "a b"
