"""`cavmae data diff` between git revisions of a real DVC project, folders and objects of its remote."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cavmae.cli import main
from tests.dataset.test_difference import clip, rejected, version
from tests.training.tiny import PARAMS

DVC_YAML = "stages:\n  validate:\n    cmd: cp -r made data/validated\n    deps: [made]\n    outs: [data/validated]\n"


def run(*words: str, at: Path) -> str:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"} | {
        f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(words, cwd=at, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two committed versions, pushed to a folder."""
    project = tmp_path_factory.mktemp("project")
    (project / "data").mkdir()
    (project / "dvc.yaml").write_text(DVC_YAML)
    (project / ".gitignore").write_text("/made\n/data\n/remote\n")
    run("git", "init", "-q", at=project), run("dvc", "init", "-q", at=project)
    run("dvc", "remote", "add", "-q", "-d", "store", "remote", at=project)
    for number, clips in enumerate([[clip("a"), clip("b")], [clip("a", labels=["cat"]), clip("c", split="val")]]):
        shutil.rmtree(project / "made", ignore_errors=True)
        version(project / "made", clips, [rejected("b", "videos/b.mp4")] if number else [])
        run("dvc", "repro", "-q", at=project), run("dvc", "push", "-q", at=project)
        run("git", "add", "-A", at=project), run("git", "commit", "-qm", str(number), at=project)
        run("git", "tag", f"v{number}", at=project)
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


SAID = """\
{} -> {}: 2 -> 2 clips, 0 -> 1 quarantined

1 added
  c  val  dog  videos/c.mp4

1 other labels
  a  dog -> cat

1 newly quarantined
  b  truncated (extract): It ends early.
"""


def test_two_revisions_and_the_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for before, now in (("v0", "v1"), ("HEAD~1", "HEAD"), ("v0", "data/validated")):
        assert main(["data", "diff", before, now]) == 0
        assert capsys.readouterr().out == SAID.format(before, now)
    assert main(["data", "diff", "v0"]) == 0
    assert capsys.readouterr().out == SAID.format("v0", "data/validated")
    assert main(["data", "diff", "v1"]) == 0
    assert "the same clips" in capsys.readouterr().out
    assert main(["data", "diff", "v0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["added"] == 1 and found["quarantined"][0]["video_id"] == "b"


@pytest.mark.parametrize("where", ["cache", "remote"])
def test_the_old_version_comes_from_the_cache_or_the_remote(
    project: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    shutil.rmtree(project / ".dvc" / "cache" if where == "remote" else project / "remote")
    assert main(["data", "diff", "v0", "v1"]) == 0
    assert capsys.readouterr().out == SAID.format("v0", "v1")


def test_from_a_folder_below_the_project_an_object_of_the_remote_does(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = sorted((project / "remote").rglob("*.dir"))
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert len(objects) == 2
    assert main(["data", "diff", *map(str, objects)]) == 0
    assert " added\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nope"], "'nope': no folder, address or git revision"),
        (["0000000"], "'0000000': no folder, address or git revision"),
        (["-v0"], "cavmae data diff --help` shows what there is"),
        (["data"], "data/clips.parquet: no such file"),
        (["v0", "s3://"], "s3://"),
        (["empty"], "revision empty has no dvc.lock here; commit it"),
        (["broken"], "revision broken: its dvc.lock is not valid YAML"),
        (["other"], "revision other: its dvc.lock names no data/validated"),
    ],
)
def test_what_is_no_version_is_said_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    for tag, lock in (("empty", None), ("broken", "a: ["), ("other", "stages: {a: {outs: [1]}, b: 2}")):
        run("git", "rm", "-qf", "--ignore-unmatch", "dvc.lock", at=project)
        if lock is not None:
            (project / "dvc.lock").write_text(lock)
            run("git", "add", "dvc.lock", at=project)
        run("git", "commit", "-qm", tag, at=project), run("git", "tag", tag, at=project)
    assert main(["data", "diff", *words]) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1


def test_what_can_be_found_nowhere_is_told_with_the_way_out(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(project / ".dvc" / "cache"), shutil.rmtree(project / "remote")
    assert main(["data", "diff", "v0"]) == 2
    message = capsys.readouterr().err
    assert "run `dvc fetch --all-commits data/validated`" in message and message.count("\n") == 1


def test_the_version_of_the_sources_changes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def told(*words: str) -> str:
        assert main(["data", "version", "--params", str(PARAMS), *words]) == 0
        return capsys.readouterr().out.strip()

    for name in ("videos", "more"):
        Path(name).mkdir()
        Path(name, "a.mp4").write_bytes(b"1")
    one = told("--set", "source=videos")
    assert len(one) == 16 and one == told("--set", "source=videos") != told("--set", "source=more")
    both = told("--set", "source=videos", "--set", "val_source=more")
    Path("videos/b.mp4").write_bytes(b"2")
    assert told("--set", "source=videos") != one
    Path("videos/b.mp4").unlink()
    Path("more/b.mp4").write_bytes(b"2")
    assert told("--set", "source=videos") == one
    assert told("--set", "source=videos", "--set", "val_source=more") != both != one
    assert main(["data", "version", "--params", str(PARAMS), "--set", "source=nowhere"]) == 2
    assert capsys.readouterr().err.startswith("cavmae data: source nowhere: no such file or folder")
