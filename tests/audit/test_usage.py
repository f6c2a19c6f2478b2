"""Every version of the data and every model that a clip went into is found: here, in git's history, and in the registry."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cavmae.audit.usage import clip_usage
from cavmae.audit.usage_found import Usage
from cavmae.cli import main
from cavmae.dataset.kept_lists import keep_lists, kept_versions
from cavmae.dataset.schema import CLIPS, QUARANTINE, read_rows, write_table
from cavmae.dataset.shelf import Shelf
from cavmae.stores import open_store
from tests.audit.project import copied
from tests.models.promoting import model, put

DVC_YAML = """\
stages:
  validate:
    cmd: ls
    outs: [data/validated]
  train:
    cmd: ls
    outs: [models/final]
"""


def run(*words: str) -> str:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.org"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = copied(tmp_path / "project", monkeypatch)
    for name in ("averaged", "adapted", "pretrained", "finetuned"):
        shutil.rmtree(folder / "models" / name)
    return folder


def clips() -> list[str]:
    return [row["video_id"] for row in read_rows(Path("data/validated/clips.parquet"), CLIPS)]


def without(clip: str) -> None:
    """The next version of the data lacks a clip, which is rejected."""
    rows = list(read_rows(Path("data/validated/clips.parquet"), CLIPS))
    for name in ("clips", "quarantine"):
        Path(f"data/validated/{name}.parquet").unlink()  # a link into DVC's cache
    write_table(Path("data/validated/clips.parquet"), [row for row in rows if row["video_id"] != clip], CLIPS)
    gone = {"video_id": clip, "path": "gone.mp4", "step": "ingest", "reason": "missing", "detail": "Nothing is there."}
    write_table(Path("data/validated/quarantine.parquet"), [gone], QUARANTINE)


def usage(clip: str, registry: str | None = None, store: str | None = None) -> Usage:
    return clip_usage(clip, Path("data/validated"), Path("models"), registry, store)


def test_the_clip_of_the_present_data_and_the_model_made_of_it(project: Path) -> None:
    found = usage(clips()[0])
    assert [row["version"] for row in found.data] == ["data/validated"] and not found.unknown
    assert found.models == [{"model": "models/final", "steps": ["finetune", "pretrain", "adapt"]}]
    assert usage("nobody").document() == {"clip": "nobody", "data": [], "models": [], "unknown": []}


def test_what_was_committed_and_is_gone_here_is_found_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = clips()
    Path("dvc.yaml").write_text(DVC_YAML)
    Path(".gitignore").write_text("/data\n/models\n")
    run("git", "init", "-q"), run("dvc", "init", "-q"), run("dvc", "commit", "-q", "-f")
    run("git", "add", "-A"), run("git", "commit", "-qm", "one")
    without(first)
    shutil.rmtree("models/final")
    Path("models/final").mkdir()
    Path("models/final/empty").touch()
    run("dvc", "commit", "-q", "-f"), run("git", "commit", "-qam", "two")
    old = run("git", "rev-parse", "HEAD~1")[:12]
    found = usage(first)
    assert [(row["version"][:19], row.get("quarantined")) for row in found.data] == [
        ("data/validated", "missing"),
        (f"commit {old}", None),
    ]
    assert [row["model"] for row in found.models] == [f"models/final at commit {old}"] and not found.unknown
    assert main(["audit", "--clip", first]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{first}: in 2 versions of the data, 1 model"
    assert f"  models/final at commit {old}  by finetune, pretrain, adapt" in lines
    shutil.rmtree(".dvc/cache")
    found = usage(first)
    assert not found.models and len(found.unknown) == 4, found.document()
    assert all("dvc fetch" in one["why"] for one in found.unknown)
    for words in ([], ["--json"]):
        assert main(["audit", "--clip", first, *words]) == 1
        told = capsys.readouterr()
        assert told.out and told.err.startswith("cavmae audit: the answer is not complete: ") and told.err.count("\n") == 1
    assert ", and 3 more could not be looked at" in told.err


def test_a_clip_that_nothing_knows_is_answered_with_a_hint(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--clip", "nobody"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("nobody: in 0 versions of the data, 0 models\nnothing that was looked at knows 'nobody': ")
    assert "its id (video_id), its name, its path or its group" in told.out and "spelling" in told.out and not told.err


def test_a_clip_has_no_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--clip", "nobody", "--html", "page.html"]) == 2
    assert "--html" in capsys.readouterr().err and not Path("page.html").exists()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_models_of_the_registry_are_found(project: Path, kind: str, request: pytest.FixtureRequest) -> None:
    place = "models/registry"
    if kind == "s3":
        place = f"s3://{request.getfixturevalue('s3_server').bucket()}/registry"
    put(place, Path("models/final"), None, "one")
    put(place, model(Path("other").absolute(), "x"), Path("models/final"), "two")
    found = usage(clips()[0], place)
    assert [row["model"].startswith(f"{place}, version ") for row in found.models] == [False, True]
    assert len(found.unknown) == 1, "the other model's lineage says nothing"


@pytest.mark.parametrize("named", [True, False])
def test_data_whose_lists_are_kept_beside_its_shards_is_found(project: Path, place: str, named: bool) -> None:
    first, *_ = clips()
    store = open_store(place)
    keep_lists(store, Path("data/validated"))
    (kept,) = kept_versions(store)
    without(first)
    if not named:  # the data that is here says where its shards lie
        Path("data/validated/location.json").unlink()
        Shelf(place, {}).write_location(Path("data/validated"))
    found = usage(first, store=place if named else None)
    assert [(row["version"], row["split"]) for row in found.data if "split" in row] == [
        (f"{Shelf(place, {}).root}, version {kept[:12]}", found.data[-1]["split"])
    ]
    assert found.models == [{"model": "models/final", "steps": ["finetune", "pretrain", "adapt"]}] and not found.unknown
    store.write(f"versions/{kept}/clips.parquet", b"changed")
    assert len(usage(first, store=place).unknown) == 2, "of what is damaged, and of the model made of it"


@pytest.mark.parametrize(("store", "why"), [("ftp://x", "is no place for files"), ("data/shrads", "keeps no lists of data sets")])
def test_a_store_that_is_none_is_told_of(project: Path, store: str, why: str) -> None:
    (unknown,) = usage(clips()[0], store=store).unknown
    assert unknown["what"] == store and why in unknown["why"]


def test_a_model_of_data_that_is_not_here_is_told_of(project: Path) -> None:
    first, second, *_ = clips()
    without(first)
    found = usage(second)
    assert not found.models and len(found.unknown) == 1
    assert "models/final was made of it, and no version of it is here" in found.unknown[0]["why"]
