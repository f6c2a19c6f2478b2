"""What a retraining leaves in git: its dvc.lock and parameters as a commit with a tag and of no branch."""

import os
import subprocess
from pathlib import Path

import pytest

from cavmae.errors import StepFailed
from pipelines.snapshot import main, snapshot

KNOWN = {f"GIT_{who}_{what}": "user@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True, env={**os.environ, **KNOWN})
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "check out"
    folder.mkdir()
    git(folder, "init", "-q", "--initial-branch=main")
    (folder / ".gitignore").write_text("/data\n")
    (folder / "params.yaml").write_text("a: 1\n")
    (folder / "data").mkdir()
    (folder / "data" / "large").write_text("not for git")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    (folder / "params.yaml").write_text("a: 2\n")
    (folder / "staged.py").write_text("1\n")
    git(folder, "add", "staged.py")
    (folder / "untracked.py").write_text("2\n")
    return folder


def state(folder: Path) -> list[str]:
    return [git(folder, *words) for words in (("status", "--porcelain"), ("rev-parse", "HEAD"), ("symbolic-ref", "HEAD"))]


def test_files_as_they_are_are_kept_and_nothing_else_is_touched(checkout: Path) -> None:
    before = state(checkout)
    commit = snapshot("manual__2026-11-22T01:00:00.5+00:00", checkout)
    assert commit is not None and state(checkout) == before
    assert git(checkout, "for-each-ref", "--format=%(refname) %(objectname)", "refs/tags").split() == [
        "refs/tags/cavmae/manual__2026-11-22T01-00-00-5+00-00", commit,
    ]  # fmt: skip
    assert git(checkout, "ls-tree", "-r", "--name-only", commit).split() == [".gitignore", "dvc.lock", "params.yaml"]
    assert git(checkout, "show", f"{commit}:params.yaml") == "a: 2"
    assert git(checkout, "log", "--all", "--format=%H", "--", "dvc.lock") == commit
    assert git(checkout, "rev-parse", f"{commit}^") == before[1]


def test_a_retry_replaces_its_own_snapshot_and_no_other(checkout: Path) -> None:
    first = snapshot("one", checkout)
    (checkout / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    second, again = snapshot("two", checkout), snapshot("one", checkout)
    listed = git(checkout, "for-each-ref", "--format=%(objectname)", "refs/tags/cavmae").split()
    assert listed == [again, second]
    assert git(checkout, "rev-parse", f"{again}^2") == first, "a run that was cleared, or has nearly the same name, hides nothing"


@pytest.mark.parametrize("name", ["--exec=x", "..", "a.lock", "/", "ä b\n", "n" * 300, "@{", "HEAD"])
def test_any_name_is_one_that_git_takes(checkout: Path, name: str) -> None:
    commit = snapshot(name, checkout)
    assert commit is not None
    (ref,) = git(checkout, "for-each-ref", "--format=%(refname)", "refs/tags/cavmae").splitlines()
    assert git(checkout, "rev-parse", ref) == commit


def test_before_the_first_commit_too(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    commit = snapshot("one", tmp_path)
    assert commit is not None and git(tmp_path, "ls-tree", "--name-only", commit) == "dvc.lock"


def test_a_project_in_a_folder_of_a_repository(checkout: Path) -> None:
    inner = checkout / "inner"
    inner.mkdir()
    (inner / "dvc.lock").write_text("schema: '2.0'\n")
    commit = snapshot("one", inner)
    assert commit is not None
    assert git(checkout, "show", f"{commit}:inner/dvc.lock") and git(checkout, "show", f"{commit}:params.yaml") == "a: 2"


def test_without_git_there_is_none_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["one"]) == 0
    assert "this is no git repository" in capsys.readouterr().err


def test_what_git_says_is_passed_on(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot("one", checkout)
    (checkout / ".git" / "refs" / "tags" / "cavmae" / "one.lock").touch()  # as another process that holds it
    with pytest.raises(StepFailed, match=r"^git update-ref: "):
        snapshot("one", checkout)
    monkeypatch.chdir(checkout)
    assert main(["one"]) == 1 and main([]) == 2
    assert capsys.readouterr().err.startswith("snapshot: git update-ref: ")
