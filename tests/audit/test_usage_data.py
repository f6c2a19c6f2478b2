"""No part of the past is passed over without a word: what cannot be looked at is told of, and the answer is not complete."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cavmae.audit.usage import clip_usage
from cavmae.audit.usage_found import Usage
from cavmae.dataset.kept_lists import keep_lists
from cavmae.dataset.schema import CLIPS, QUARANTINE, read_rows, write_table
from cavmae.stores import open_store
from tests.audit.project import copied
from tests.dataset.made import dvc_object
from tests.models.promoting import put

LISTS = Path("data/validated")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without models, whose lists lie in DVC's cache and whose dvc.lock is committed."""
    folder = copied(tmp_path / "project", monkeypatch)
    shutil.rmtree(folder / "models")
    for who in ("AUTHOR", "COMMITTER"):
        for what in ("NAME", "EMAIL"):
            monkeypatch.setenv(f"GIT_{who}_{what}", "user@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git("init", "-q", "--initial-branch=main")
    committed("first")
    return folder


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def committed(message: str) -> None:
    """Commit a dvc.lock that names the lists as they are, which DVC's cache then has."""
    names = ("clips.parquet", "quarantine.parquet")
    place = dvc_object(Path(".dvc/cache"), {name: (LISTS / name).read_bytes() for name in names})
    stage = {"cmd": "cavmae validate", "outs": [{"path": LISTS.as_posix(), "md5": place.parent.name + place.name}]}
    save(yaml.safe_dump({"schema": "2.0", "stages": {"validate": stage}}), message)


def save(lock: str, message: str) -> None:
    Path("dvc.lock").write_text(lock)
    git("add", "dvc.lock"), git("commit", "-qm", message)


def clips() -> list[dict[str, Any]]:
    return list(read_rows(LISTS / "clips.parquet", CLIPS))


def rewrite(name: str, rows: list[dict[str, Any]]) -> None:
    path = LISTS / f"{name}.parquet"
    path.unlink()
    write_table(path, rows, CLIPS if name == "clips" else QUARANTINE)


def usage(clip: str, dataset: Path = LISTS, **more: Any) -> Usage:
    return clip_usage(clip, dataset, Path("models"), more.get("registry"), more.get("store"))


def removed() -> str:
    """Take the first clip out of the data that is here, and return its id."""
    first, *rest = clips()
    rewrite("clips", rest)
    return str(first["video_id"])


def test_a_commit_tells_of_a_clip_that_is_gone_here_also_where_the_folder_is_named_by_its_whole_path(project: Path) -> None:
    clip = removed()
    for dataset in (LISTS, LISTS.absolute()):
        found = usage(clip, dataset)
        assert [row["version"][:7] for row in found.data] == ["commit "] and not found.unknown


def test_a_clone_with_the_last_part_of_the_history_is_not_complete(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = removed()
    committed("second")
    git("clone", "-q", "--depth=1", project.as_uri(), "shallow")
    monkeypatch.chdir("shallow")
    (unknown, *_) = usage(clip).unknown
    assert unknown["what"] == "the history of git" and "--unshallow" in unknown["why"]


def test_where_git_does_not_answer_that_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (unknown,) = usage("nobody").unknown
    assert unknown["what"] == "the history of git" and "refuses" in unknown["why"]
    shutil.rmtree(".git")
    monkeypatch.chdir("/")
    assert not usage("nobody", project / LISTS).unknown, "there is no repository, so there is no history"


def test_a_branch_whose_data_a_merge_did_not_take_is_found(project: Path) -> None:
    whole = clips()
    clip = removed()
    committed("without")
    rewrite("clips", whole)
    git("checkout", "-q", "-b", "side", "HEAD~1")
    rewrite("clips", whole[:-1])
    committed("side")
    git("checkout", "-q", "main")
    git("merge", "-q", "-s", "ours", "-m", "ours", "side"), git("branch", "-q", "-D", "side")
    rewrite("clips", whole[1:])
    assert len(usage(clip).data) == 2


def test_a_committed_lock_that_is_none_is_told_of_and_one_that_is_gone_is_not(project: Path) -> None:
    for content in ("<<<<<<< HEAD\na: 1\n=======\n", "a: 2026-13-45\n"):
        save(content, "damaged")
    git("rm", "-q", "dvc.lock"), git("commit", "-qm", "gone")
    assert [one["why"].partition(": ")[2] for one in usage("nobody").unknown] == ["its dvc.lock is not valid YAML"] * 2


def test_lists_that_are_damaged_here_do_not_end_the_looking(project: Path) -> None:
    clip = str(clips()[0]["video_id"])
    path = LISTS / "clips.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    found = usage(clip)
    assert [one["what"] for one in found.unknown] == ["data/validated"] and len(found.data) == 1


@pytest.mark.parametrize("kept", ["git", "store"])
def test_what_was_rejected_is_found_though_what_was_accepted_is_the_same(project: Path, kept: str) -> None:
    row = {"video_id": "bad_1", "path": "bad.mp4", "step": "extract", "reason": "no_audio", "detail": "It has no sound track."}
    if kept == "store":
        keep_lists(open_store("there"), LISTS)
    before = list(read_rows(LISTS / "quarantine.parquet", QUARANTINE))
    rewrite("quarantine", [*before, row])
    keep_lists(open_store("there"), LISTS) if kept == "store" else committed("rejected")
    rewrite("quarantine", before)
    found = usage("bad_1", store="there" if kept == "store" else None)
    assert [row["quarantined"] for row in found.data] == ["no_audio"] and not found.unknown


def test_a_registry_that_is_none_is_told_of(project: Path) -> None:
    (unknown,) = usage("nobody", registry="models/regstry").unknown
    assert unknown["what"] == "models/regstry" and "holds no registry" in unknown["why"]


def test_a_champion_that_the_history_does_not_tell_of_yet_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(tmp_path / "whole", monkeypatch)
    put("models/registry", Path("models/final"), None, "one")
    for name in ("final", "averaged", "adapted", "pretrained", "finetuned"):
        shutil.rmtree(folder / "models" / name)
    Path("models/registry/history.jsonl").write_bytes(b"")
    found = usage(str(clips()[0]["video_id"]), registry="models/registry")
    assert [row["model"][:24] for row in found.models] == ["models/registry, version"]
