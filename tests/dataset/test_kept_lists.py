"""The lists of earlier versions, beside the shards of a store."""

import shutil
from pathlib import Path

import pytest

from cavmae.dataset.kept_lists import fetch_lists, keep_lists, kept_versions
from cavmae.errors import StepFailed
from cavmae.storage import sha256_file
from cavmae.stores import open_store


def lists(folder: Path, clips: str) -> tuple[Path, str]:
    folder.mkdir()
    (folder / "clips.parquet").write_text(clips)
    (folder / "quarantine.parquet").write_text(f"quarantine of {clips}")
    return folder, sha256_file(folder / "clips.parquet")


def test_every_version_is_kept_once_and_comes_back_as_it_was(tmp_path: Path, place: str) -> None:
    store = open_store(place)
    assert list(kept_versions(store)) == []
    one, two = lists(tmp_path / "one", "a"), lists(tmp_path / "two", "b")
    keep_lists(store, one[0])
    keep_lists(store, two[0])
    marks = {entry.name: entry.mark for entry in store.entries()}
    keep_lists(store, one[0])
    assert {entry.name: entry.mark for entry in store.entries()} == marks
    assert sorted(kept_versions(store)) == sorted([one[1], two[1]])
    (tmp_path / "back").mkdir()
    fetch_lists(store, two[1], tmp_path / "back")
    for name in ("clips.parquet", "quarantine.parquet"):
        assert (tmp_path / "back" / name).read_bytes() == (two[0] / name).read_bytes()


def test_one_that_was_killed_before_its_end_is_no_version_and_is_kept_by_the_next(tmp_path: Path, place: str) -> None:
    store = open_store(place)
    folder, sha256 = lists(tmp_path / "one", "a")
    store.put(f"versions/{sha256}/quarantine.parquet", folder / "clips.parquet")
    assert list(kept_versions(store)) == []
    keep_lists(store, folder)
    assert list(kept_versions(store)) == [sha256]
    assert store.read(f"versions/{sha256}/quarantine.parquet") == b"quarantine of a"


def test_a_list_that_was_changed_is_named(tmp_path: Path, place: str) -> None:
    store = open_store(place)
    folder, sha256 = lists(tmp_path / "one", "a")
    keep_lists(store, folder)
    store.write(f"versions/{sha256}/clips.parquet", b"A")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(StepFailed, match=rf"versions/{sha256}/clips\.parquet: its SHA-256 is not {sha256[:12]}"):
        fetch_lists(store, sha256, folder)
