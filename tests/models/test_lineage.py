"""Where the code of a model comes from: the working copy, or the commit that an image was built from."""

import subprocess
from pathlib import Path

import pytest

from cavmae.models import lineage

BUILT = "0123456789abcdef0123456789abcdef01234567"


def _working_copy(folder: Path) -> str:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t.invalid", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *identity, "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (folder / "code.py").write_text("x = 1\n")
    git("add", "code.py")
    git("commit", "--quiet", "--message", "one")
    return git("rev-parse", "HEAD")


def _no_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_PACKAGE", folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))


@pytest.mark.parametrize(("said", "clean"), [(BUILT, True), (f"{BUILT}-dirty", False)])
def test_without_git_the_image_says_what_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, clean: bool
) -> None:
    _no_git(tmp_path, monkeypatch)
    monkeypatch.setenv(lineage.COMMIT_VARIABLE, said)
    assert lineage._git() == {"commit": BUILT, "clean": clean}
    assert lineage.code_commit() == (BUILT if clean else f"{BUILT} with local changes")


@pytest.mark.parametrize("said", ["", "main", BUILT[:12], BUILT.upper(), f"{BUILT}-local", f"{BUILT}\n", f"{BUILT} {BUILT}"])
def test_what_is_no_commit_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    _no_git(tmp_path, monkeypatch)
    monkeypatch.setenv(lineage.COMMIT_VARIABLE, said)
    assert lineage._git() == {"commit": None, "clean": None}
    assert lineage.code_commit() == "unknown"


def test_a_working_copy_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = _working_copy(tmp_path)
    monkeypatch.setattr(lineage, "_PACKAGE", tmp_path)
    monkeypatch.setenv(lineage.COMMIT_VARIABLE, f"{BUILT}-dirty")
    assert lineage._git() == {"commit": commit, "clean": True}
    (tmp_path / "code.py").write_text("x = 2\n")
    assert lineage._git() == {"commit": commit, "clean": False}


def test_a_working_copy_without_a_commit_is_not_called_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    monkeypatch.setattr(lineage, "_PACKAGE", tmp_path)
    monkeypatch.delenv(lineage.COMMIT_VARIABLE, raising=False)
    assert lineage._git() == {"commit": None, "clean": None}
