"""What is whole is proved; one byte changed anywhere is named; what has moved on is told apart from what is damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cavmae.audit import code
from cavmae.audit.audit import audit_model
from cavmae.dataset.schema import CLIPS, write_table
from cavmae.storage import sha256_file
from tests.audit.project import MODEL, audited, copied, rewrite, said
from tests.models.promoting import put
from tests.training.tiny import SETTINGS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path / "project", monkeypatch)


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_what_is_whole_is_proved(project: Path) -> None:
    audit = audited()
    assert audit.failure is None
    proved = said(audit, "proved")
    for what in (
        "model: models/final/model.safetensors",
        "metrics: models/final/metrics.json",
        "ancestors: models/averaged/model.safetensors",
        "ancestors: models/finetuned/model.safetensors",
        "ancestors: models/finetuned/epochs/epoch-0003.safetensors",
        "ancestors: models/pretrained/config.json",
        "ancestors: models/adapted/model.safetensors",
        "data: data/validated/clips.parquet",
        "data: 4 of 4 shards in data/shards",
        "sources: 48 of 48 videos",
    ):
        assert what in proved, audit.document()
    assert any(what.startswith("code: code of package, average, finetune, pretrain, adapt") for what in proved)
    assert {what.partition(":")[0] for what in said(audit, "claimed")} == {"parameters", "circumstances"}


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("models/final/model.safetensors", "models/final/model.safetensors"),
        ("models/final/config.json", "models/final/config.json"),
        ("models/final/metrics.json", "models/final/metrics.json"),
        ("data/shards/train-00001.tar", "data/shards/train-00001.tar"),
        ("data/validated/clips.parquet", "data/validated/clips.parquet"),
        ("data/validated/labels.csv", "data/validated/labels.csv"),
    ],
)
def test_one_changed_bit_is_named(project: Path, file: str, named: str) -> None:
    flip(project / file)
    audit = audited()
    wrong = said(audit, "broken", "differs")
    assert any(named in what for what in wrong) and audit.failure is not None, audit.document()
    assert len(wrong) == 1 and named in audit.failure


@pytest.mark.parametrize("file", ["models/pretrained/model.safetensors", "models/finetuned/epochs/epoch-0002.safetensors"])
def test_an_ancestor_that_is_not_here_as_it_was_is_only_claimed(project: Path, file: str) -> None:
    flip(project / file)
    audit = audited()
    assert audit.failure is None
    name = "epoch-0002.safetensors" if "epoch" in file else "the model of pretrain"
    assert any(name in what for what in said(audit, "claimed"))


def test_missing_things_are_told_of(project: Path) -> None:
    (project / "data/shards/train-00000.tar").unlink()
    (project / "models/final/metrics.json").unlink()
    audit = audited()
    assert said(audit, "broken") == ["metrics: models/final/metrics.json", "data: data/shards/train-00000.tar"]
    shutil.rmtree(project / "data/validated")
    audit = audited()
    assert said(audit, "broken") == ["metrics: models/final/metrics.json"]
    assert any(what.startswith("data: data/validated (") for what in said(audit, "claimed"))
    assert not any(what.startswith("sources") for what in said(audited(sources=False), "proved", "claimed"))


def test_parameters_are_compared_by_value(project: Path) -> None:
    audit = audited()
    assert said(audit, "claimed")[0] == "parameters: tests-params.yaml"
    sections = yaml.safe_load(Path("params.yaml").read_text())
    for step in ("adapt", "pretrain", "finetune", "average", "package"):
        for key, value in SETTINGS[step].items():
            place = sections[step]
            *groups, last = key.split(".")
            for group in groups:
                place = place[group]
            place[last] = None if value == "null" else value
    Path("tests-params.yaml").write_text(yaml.safe_dump(sections))
    assert len([what for what in said(audited(), "proved") if what.startswith("parameters")]) == 5
    sections["finetune"]["lr"] = 0.004
    sections["pretrain"]["epochs"] = float(sections["pretrain"]["epochs"])  # the same value
    sections["adapt"]["model"]["depth"] += 1
    del sections["average"]["by"]
    sections["evaluate"]["replicates"] = 7  # the model has nothing of it
    Path("tests-params.yaml").write_text(yaml.safe_dump(sections))
    audit = audited()
    assert said(audit, "differs") == ["parameters: average.by", "parameters: finetune.lr", "parameters: adapt.model"]
    assert audit.failure == "average.by: differs from lineage (tests-params.yaml says None, the model had 'last'); 2 more"


def test_code_of_a_commit_that_is_not_here_is_only_claimed_and_a_wrong_one_is_broken(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "code_fingerprint", lambda: "0" * 64)
    rewrite(project, lambda document: document["code"].update(commit="f" * 40, clean=True))
    audit = audited()
    assert any(finding.what == "code of package" and "is not in this repository" in finding.detail for finding in audit.findings)
    monkeypatch.setattr(code, "_fingerprint_at", lambda commit: "e" * 64)
    assert "code: code of package" in said(audited(), "broken")


def test_the_code_of_a_commit_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "cavmae"
    (package / "b").mkdir(parents=True)
    for name in ("a.py", "b/c.py", "b.py", "note.txt"):
        (package / name).write_text(name)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(code, "_PACKAGE", package)
    from cavmae.models import lineage

    monkeypatch.setattr(lineage, "_PACKAGE", package)
    lineage.code_fingerprint.cache_clear()
    try:
        assert code._fingerprint_at(commit) == lineage.code_fingerprint()
    finally:
        lineage.code_fingerprint.cache_clear()
    assert code._fingerprint_at("f" * 40) is None


def test_the_registry_vouches_for_the_model_and_for_its_lineage(project: Path) -> None:
    put("models/registry", MODEL, None, "one")
    audit = audited("models/registry")
    assert audit.failure is None
    assert "registry: models/final/lineage.json" in said(audit, "proved")
    rewrite(project, lambda document: document["params"].update(name="Another"))
    assert said(audited("models/registry"), "broken") == ["registry: models/final/lineage.json"]


def videos(project: Path, **changed: str) -> None:
    """Replace the list of clips by one of three videos in the project, some of which are changed after that."""
    rows = []
    for name in ("a", "b", "c"):
        path = project / f"{name}.mp4"
        path.write_text(name)
        row = dict.fromkeys(CLIPS.names) | {"video_id": name, "path": path.name, "labels": [], "sha256": sha256_file(path)}
        rows.append(row | {"start_s": 0.0, "end_s": 1.0, "object": "s3://bucket/c" if name == "c" else None})
    write_table(project / "data/validated/clips.parquet", rows, CLIPS)
    for name, content in changed.items():
        (project / f"{name}.mp4").write_text(content)
    found = sha256_file(project / "data/validated/clips.parquet")

    def everywhere(document: dict[str, Any]) -> None:
        if document["dataset"]:
            document["dataset"]["clips.parquet"] = found
        for parent in document["parents"].values():
            everywhere(parent["lineage"])

    rewrite(project, everywhere)


def test_a_champion_that_was_promoted_before_or_after_packaging_vouches_for_both(project: Path) -> None:
    averaged = Path("models/averaged")
    for registry, promoted, other in (("one", averaged, MODEL), ("two", MODEL, averaged)):
        put(registry, promoted, None, "run-1")
        audit = audit_model(other, Path("data/validated"), Path("tests-params.yaml"), registry, False)
        assert audit.failure is None and f"registry: {other}/lineage.json" in said(audit, "proved")
    claimed = [finding for finding in audited("one").findings if finding.state == "claimed" and finding.part == "registry"]
    assert [finding.what for finding in claimed] == ["models/final/lineage.json, step package"], "what the registry does not keep"
    whole = (MODEL / "lineage.json").read_text()
    for change in ({"packages": {}}, {"step": "average"}, {"parents": {}}):
        document = json.loads(whole)
        told = document if "packages" not in change else document["parents"]["start"]["lineage"]
        told |= change
        (MODEL / "lineage.json").write_text(json.dumps(document))
        assert "registry: models/final/lineage.json" in said(audited("one"), "broken"), change
    (MODEL / "lineage.json").write_text(whole)
    next(Path("one/versions").glob("*/lineage.json")).write_text("{")
    assert audited("one").failure is not None


def test_videos_are_held_against_what_was_ingested(project: Path) -> None:
    videos(project)
    audit = audited()
    assert "sources: 2 of 3 videos" in said(audit, "proved") and "sources: 1 of 3 videos" in said(audit, "claimed")
    videos(project, b="another")
    assert said(audited(), "differs") == ["sources: b.mp4"]
    assert audited(sources=False).failure is None


def test_what_dvc_lock_names_is_worked_out_without_dvc_and_the_file_is_named(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n  all:\n    cmd: 'true'\n    outs: [data/shards, models/final, models/pretrained]\n"
    )
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "commit", "-q", "-f"]):
        subprocess.run(words, check=True, env=environment, capture_output=True)
    proved = [what for what in said(audited(), "proved") if what.startswith("versions")]
    assert proved == ["versions: data/shards", "versions: models/final", "versions: models/pretrained"]
    shutil.copyfile("models/pretrained/config.json", "models/pretrained/extra.json")
    (project / "models/final/README.md").unlink()
    replacement = bytes(reversed((project / "data/shards/train-00000.json").read_bytes()))
    (project / "data/shards/train-00000.json").unlink()  # a link into DVC's cache
    (project / "data/shards/train-00000.json").write_bytes(replacement)
    assert said(audited(), "broken") == [
        "versions: data/shards/train-00000.json",
        "versions: models/final/README.md",
        "versions: models/pretrained/extra.json",
    ]
    shutil.rmtree(project / ".dvc" / "cache")
    assert said(audited(), "broken") == ["versions: data/shards", "versions: models/final", "versions: models/pretrained"]
    shutil.rmtree(project / "models/pretrained")
    assert "versions: models/pretrained" in said(audited(), "claimed")
    (project / "dvc.lock").write_text("stages: 1")
    assert said(audited(), "broken") == ["versions: dvc.lock"]


def test_it_needs_no_torch(project: Path, tmp_path: Path) -> None:
    put(tmp_path / "registry", MODEL, None, "r1")
    program = "import sys; sys.modules['torch'] = None; from cavmae.cli import main; sys.exit(main(sys.argv[1:]))"
    for words in (["audit", "--params", "tests-params.yaml"], ["history"]):
        command = [sys.executable, "-c", program, *words, "--registry", str(tmp_path / "registry")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
