"""Data by version: from `dvc:PATH@REV` to the object on the remote, pinned to a commit, and really there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cavmae.errors import InputError, StepFailed
from pipelines.dvc_data import resolve_dvc

QUIET = {"GIT_CONFIG_GLOBAL": "/dev/null", "DVC_NO_ANALYTICS": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x.test"}
QUIET |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x.test"}


def sh(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", *words] if words[0] == "dvc" else [*words]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **QUIET}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a folder, a file and a stage's model, in two commits, all of it pushed."""
    folder = tmp_path_factory.mktemp("dvc")
    repository = folder / "repository"
    (repository / "data" / "videos").mkdir(parents=True)
    sh(repository, "git", "init", "-q")
    sh(repository, "dvc", "init", "-q")
    sh(repository, "dvc", "remote", "add", "-q", "-d", "store", str(folder / "remote"))
    (repository / "data" / "videos" / "a.txt").write_text("one")
    (repository / "data" / "videos" / "ü -b@2.txt").write_text("two")
    (repository / "one@home.bin").write_text("file")
    (repository / "notes.txt").write_text("not DVC's")
    stages = {
        "train": {"cmd": "mkdir models && echo w > models/w && echo 1 > acc", "outs": ["models", {"acc": {"cache": False}}]}
    }
    (repository / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    sh(repository, "dvc", "add", "-q", "data/videos", "one@home.bin")
    sh(repository, "dvc", "repro", "-q")
    sh(repository, "git", "add", "-A")
    sh(repository, "git", "commit", "-qm", "one")
    sh(repository, "git", "tag", "v1")
    (repository / "data" / "videos" / "a.txt").write_text("one, changed")
    sh(repository, "dvc", "add", "-q", "data/videos")
    sh(repository, "git", "commit", "-qam", "two")
    sh(repository, "dvc", "push", "-q", "--all-commits")
    return folder


@pytest.fixture
def repository(pushed: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    shutil.copytree(pushed, tmp_path / "x", symlinks=True)
    copy = tmp_path / "x" / "repository"
    sh(copy, "dvc", "remote", "modify", "-q", "store", "url", str(tmp_path / "x" / "remote"))
    sh(copy, "git", "commit", "-qam", "moved")
    return copy


def listing(location: str) -> list[str]:
    return [entry["relpath"] for entry in json.loads(Path(location).read_text())]


def test_a_folder_is_the_list_of_its_files_on_the_remote(pushed: Path) -> None:
    repository = pushed / "repository"
    found = resolve_dvc("dvc:data/videos", repository)
    assert found.commit == sh(repository, "git", "rev-parse", "HEAD")
    assert found.path == "data/videos"
    digest = found.hash.removesuffix(".dir")
    assert found.location == f"{pushed}/remote/files/md5/{digest[:2]}/{digest[2:]}.dir"
    assert listing(found.location) == ["a.txt", "ü -b@2.txt"]
    entries = json.loads(Path(found.location).read_text())
    root = Path(found.location).parents[1]
    assert [(root / entry["md5"][:2] / entry["md5"][2:]).read_text() for entry in entries] == ["one, changed", "two"]


def test_a_revision_gives_what_was_then(pushed: Path) -> None:
    repository = pushed / "repository"
    then, now = resolve_dvc("dvc:data/videos@v1", repository), resolve_dvc("dvc:data/videos@HEAD", repository)
    assert then.hash != now.hash
    assert then.commit == sh(repository, "git", "rev-parse", "v1")
    assert resolve_dvc(f"dvc:data/videos@{then.commit[:8]}", repository) == then


def test_a_file_and_a_stages_model(pushed: Path) -> None:
    repository = pushed / "repository"
    assert Path(resolve_dvc("dvc:one@home.bin@HEAD", repository).location).read_text() == "file"
    assert listing(resolve_dvc("dvc:models", repository).location) == ["w"]


def test_a_path_is_meant_from_where_one_stands(pushed: Path) -> None:
    found = resolve_dvc("dvc:videos", pushed / "repository" / "data")
    assert found.path == "data/videos"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("dvc:", "write dvc:PATH"),
        ("dvc:@v1", "write dvc:PATH"),
        ("dvc:data/videos@", "write dvc:PATH"),
        ("dvc:data/videos@--upload-pack=x", "write dvc:PATH"),
        ("dvc:data/videos@v1\n", "write dvc:PATH"),
        ("dvc:data/videos@v9", "unknown Git revision 'v9'"),
        ("dvc:nothing", r"dvc:nothing at [0-9a-f]{12}: DVC tracks nothing of that name"),
        ("dvc:notes.txt", "DVC tracks nothing of that name"),
        ("dvc:data/videos/a.txt", "name a whole output"),
        ("dvc:data", "DVC tracks nothing of that name"),
        ("dvc:acc", "DVC keeps no version of it"),
        ("dvc:../other", "outside of the DVC repository"),
        ("dvc:/etc/passwd", "outside of the DVC repository"),
        ("dvc:one@home.bin", "unknown Git revision 'home.bin'"),
    ],
)
def test_what_cannot_be_meant_is_said(pushed: Path, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        resolve_dvc(value, pushed / "repository")
    assert str(caught.value).isprintable()


def test_outside_of_a_repository(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not inside of a DVC repository"):
        resolve_dvc("dvc:x", tmp_path)


def test_without_a_revision_the_working_tree_must_agree_with_the_commit(repository: Path) -> None:
    (repository / "data" / "videos" / "a.txt").write_text("three")
    sh(repository, "dvc", "add", "-q", "data/videos")
    with pytest.raises(InputError, match=r"names other data than commit [0-9a-f]{12}; commit it, or write dvc:data/videos@HEAD"):
        resolve_dvc("dvc:data/videos", repository)
    assert resolve_dvc("dvc:data/videos@HEAD", repository).hash


def test_data_that_was_removed_is_still_there_at_its_revision(repository: Path) -> None:
    sh(repository, "git", "rm", "-qf", "one@home.bin.dvc")
    sh(repository, "git", "commit", "-qam", "gone")
    with pytest.raises(InputError, match="tracks nothing"):
        resolve_dvc("dvc:one@home.bin@HEAD", repository)
    assert resolve_dvc("dvc:one@home.bin@v1", repository).hash


@pytest.mark.parametrize("which", ["list", "file"])
def test_what_was_not_pushed_is_named(repository: Path, which: str) -> None:
    (repository / "data" / "videos" / "new.txt").write_text("new")
    sh(repository, "dvc", "add", "-q", "data/videos")
    sh(repository, "git", "commit", "-qam", "new")
    if which == "file":
        sh(repository, "dvc", "push", "-q")
        found = resolve_dvc("dvc:data/videos", repository)
        entry = next(item for item in json.loads(Path(found.location).read_text()) if item["relpath"] == "new.txt")
        (Path(found.location).parents[1] / entry["md5"][:2] / entry["md5"][2:]).unlink()
    name = "new.txt" if which == "file" else "videos"
    with pytest.raises(InputError, match=f"lacks {name}; run `dvc push` first"):
        resolve_dvc("dvc:data/videos", repository)


def test_a_remote_that_is_not_there(repository: Path) -> None:
    sh(repository, "dvc", "remote", "remove", "-q", "store")
    with pytest.raises(InputError, match="remote"):
        resolve_dvc("dvc:data/videos@HEAD", repository)


def test_a_remote_that_pipelines_cannot_read(repository: Path) -> None:
    sh(repository, "dvc", "remote", "modify", "-q", "store", "url", "http://store.test/x")
    with pytest.raises(InputError, match=r"is http://; the pipelines read s3:// and folders"):
        resolve_dvc("dvc:data/videos@HEAD", repository)


def test_a_remote_that_keeps_versions_its_own_way(repository: Path) -> None:
    sh(repository, "dvc", "remote", "modify", "-q", "store", "version_aware", "true")
    with pytest.raises(InputError, match="cloud versioned"):
        resolve_dvc("dvc:data/videos@HEAD", repository)


def test_a_hash_of_dvc_2(repository: Path) -> None:
    path = repository / "one@home.bin.dvc"
    path.write_text(path.read_text().replace("  hash: md5\n", ""))
    sh(repository, "git", "commit", "-qam", "old")
    with pytest.raises(InputError, match="md5-dos2unix"):
        resolve_dvc("dvc:one@home.bin@HEAD", repository)


def test_a_list_that_is_damaged_on_the_remote(repository: Path) -> None:
    Path(resolve_dvc("dvc:models", repository).location).write_text("{")
    with pytest.raises((StepFailed, InputError), match="dvc:models"):
        resolve_dvc("dvc:models", repository)


def test_without_dvc_it_is_said_that_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvc.repo", None)
    with pytest.raises(InputError, match="DVC is not installed"):
        resolve_dvc("dvc:x", tmp_path)


@pytest.mark.slow
def test_an_s3_remote(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dvc_s3")
    from tests.s3_service import S3Service

    service = S3Service()
    try:
        bucket = service.bucket()
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        sh(repository, "dvc", "remote", "modify", "-q", "store", "url", f"s3://{bucket}/deep/store")
        sh(repository, "dvc", "remote", "modify", "-q", "--local", "store", "endpointurl", service.endpoint)
        with pytest.raises(InputError, match="run `dvc push` first"):
            resolve_dvc("dvc:models", repository)
        sh(repository, "dvc", "push", "-q")
        found = resolve_dvc("dvc:data/videos@HEAD", repository)
        digest = found.hash
        assert found.location == f"s3://{bucket}/deep/store/files/md5/{digest[:2]}/{digest[2:]}"
        service.stop()
        with pytest.raises(StepFailed, match="cannot be read"):
            resolve_dvc("dvc:models", repository)
    finally:
        service.stop()
