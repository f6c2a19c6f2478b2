"""The lists of earlier versions, beside the shards of a store."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cavmae.dataset.kept_lists import fetch_clips, fetch_quarantine, keep_lists, kept_versions
from cavmae.errors import StepFailed
from cavmae.storage import sha256_file
from cavmae.stores import Store, open_store


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
    back = tmp_path / "back"
    back.mkdir()
    assert fetch_clips(store, two[1], back).read_text() == "b"
    (quarantine,) = kept_versions(store)[two[1]]
    assert fetch_quarantine(store, two[1], quarantine, back).read_text() == "quarantine of b"


@dataclass
class Kept:
    """A store that keeps the lists of one version, and the folder that they come from."""

    store: Store
    folder: Path
    sha256: str


@pytest.fixture
def kept(tmp_path: Path, place: str) -> Kept:
    folder, sha256 = lists(tmp_path / "one", "a")
    found = Kept(open_store(place), folder, sha256)
    keep_lists(found.store, folder)
    return found


def test_what_was_rejected_is_kept_also_where_what_was_accepted_is_the_same(kept: Kept) -> None:
    (kept.folder / "quarantine.parquet").write_text("other")
    keep_lists(kept.store, kept.folder)
    (quarantines,) = kept_versions(kept.store).values()
    assert list(kept_versions(kept.store)) == [kept.sha256] and len(quarantines) == 2


def test_one_that_was_killed_before_its_end_is_no_version_and_is_kept_by_the_next(kept: Kept) -> None:
    kept.store.delete(f"versions/{kept.sha256}/clips.parquet")
    assert list(kept_versions(kept.store)) == []
    keep_lists(kept.store, kept.folder)
    (quarantines,) = kept_versions(kept.store).values()
    assert list(kept_versions(kept.store)) == [kept.sha256] and len(quarantines) == 1


def test_a_list_that_was_changed_is_named(kept: Kept) -> None:
    sha256 = kept.sha256
    kept.store.write(f"versions/{sha256}/clips.parquet", b"A")
    with pytest.raises(StepFailed, match=rf"versions/{sha256}/clips\.parquet: its SHA-256 is not {sha256[:12]}"):
        fetch_clips(kept.store, sha256, kept.folder)
