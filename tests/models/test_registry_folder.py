"""The registry in a folder: its lock, its files, and what a promotion that was killed leaves of them."""

import os
from functools import partial
from pathlib import Path

import pytest

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import CONFIG
from cavmae.models.registries import open_registry
from cavmae.models.registry_folder import FolderRegistry
from tests.models.promoting import champion, die_at, model, proposal, put, version

WRITES = [(os, name) for name in ("write", "replace", "fsync", "mkdir", "truncate", "chmod")]


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    return model(tmp_path / "a", "aaa"), model(tmp_path / "b", "bbb"), model(tmp_path / "c", "ccc")


def test_a_killed_promotion_leaves_the_old_champion_or_the_new_and_the_next_run_repairs(
    tmp_path: Path, models: tuple[Path, Path, Path]
) -> None:
    a, b, c = models
    old, new = version(a), version(b)
    seen, late, step, killed = [], 0, 0, True
    while killed:
        folder = tmp_path / f"registry{step}"
        put(folder, a, None, "one")
        killed = die_at(step, partial(put, folder, b, a, "two"), *WRITES)
        seen.append(champion(folder))
        assert seen[-1] in (old, new)
        if step % 2 and seen[-1] == new:  # another run repairs, and is refused: it knows of the old champion alone
            with pytest.raises(StepFailed, match=f"champion now is {new}"):
                put(folder, c, a, "three")
        else:
            assert put(folder, b, a, "two").changed == (seen[-1] == old)
        assert champion(folder) == new
        rows = open_registry(str(folder)).history()
        assert [(row.run_id, row.to_version) for row in rows] == [("one", old), ("two", new)]
        late += rows[1].late
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "champion.json", "history.jsonl", "versions"]
        assert sorted(path.name for path in (folder / "versions").iterdir()) == sorted([old, new])
        step += 1
    assert step > 8 and late >= 2 and seen == sorted(seen, key=lambda found: found == new), "old before, new after"


def test_what_a_killed_first_promotion_left_is_a_registry_still(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    step = 0
    while die_at(step, partial(put, tmp_path / f"r{step}", models[0], None, "one"), *WRITES):
        put(tmp_path / f"r{step}", models[0], None, "one")
        assert champion(tmp_path / f"r{step}") == version(models[0])
        step += 1
    assert step > 8


def test_links_foreign_folders_and_addresses_are_refused(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    real = tmp_path / "real"
    put(real, models[0], None, "one")
    (tmp_path / "link").symlink_to(real)
    for place, words in (
        (tmp_path / "link", "is a symbolic link"),
        (models[0], "is no registry, it holds 'config.json'"),
        (models[0] / CONFIG, "is no folder"),
        (Path("s3://bucket/registry"), "is no place for a registry"),
        ("gs://bucket/registry", "is no place for a registry"),
    ):
        with pytest.raises(InputError, match=words):
            put(place, models[1], None, "two")
    for name in ("champion.json", "history.jsonl", "versions", ".lock"):
        moved = (real / name).rename(tmp_path / "moved")
        (real / name).symlink_to(moved)
        with pytest.raises(InputError, match=f"{name}: is a symbolic link"):
            put(real, models[1], models[0], "two")
        (real / name).unlink()
        moved.rename(real / name)
    assert put(real, models[1], models[0], "two").changed


def test_a_version_that_another_run_had_begun_to_copy_is_cleared_away(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    a, b, c = models
    folder = tmp_path / "registry"
    put(folder, a, None, "one")
    step = 0
    while not list((folder / "versions").glob("*.partial")):
        assert die_at(step, partial(put, folder, b, a, "two"), *WRITES) and champion(folder) == version(a)
        step += 1
    put(folder, c, a, "three")
    assert {path.name for path in (folder / "versions").iterdir()} == {version(a), version(c)}


def test_who_waits_too_long_is_told(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    folder = tmp_path / "registry"
    with FolderRegistry(folder).exclusive(0), pytest.raises(StepFailed, match="another promotion is at work"):
        open_registry(str(folder)).promote(models[0], proposal(models[0], None, "one"), 0)
    assert put(folder, models[0], None, "one").changed
