"""What dvc.lock tells of models, of parameters, and of itself, here and as it was committed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cavmae.audit.audit import audit_model
from cavmae.audit.findings import Audit
from tests.audit.locks import commit_lock, lock, stage
from tests.audit.project import audited, copied, said

ADAPTED = Path("models/adapted")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path / "project", monkeypatch)


def details(audit: Audit, part: str, what: str) -> list[str]:
    return [finding.detail for finding in audit.findings if (finding.part, finding.what) == (part, what)]


def other_configuration() -> None:
    path = ADAPTED / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of": "newer data"}))


def test_weights_with_a_newer_configuration_have_moved_on_where_dvc_lock_says_so(project: Path) -> None:
    other_configuration()
    assert said(audited(), "broken", "differs") == ["ancestors: models/adapted/config.json"]
    assert said(audited(), "differs") == [], "nothing vouches for it"
    lock(adapt=stage("cavmae adapt", "models/adapted"))
    audit = audited()
    assert said(audit, "broken") == [] and said(audit, "differs") == ["ancestors: models/adapted/config.json"]
    assert "models/adapted has these weights with another configuration now" in str(audit.failure)
    (ADAPTED / "config.json").write_text("{}")
    wrong = ["ancestors: models/adapted/config.json", "versions: models/adapted"]
    assert said(audited(), "broken") == wrong, "what dvc.lock names is another one"


def test_of_two_folders_with_the_same_weights_the_one_with_the_configuration_is_meant(project: Path) -> None:
    for name in ("aaa", "zzz"):
        shutil.copytree(ADAPTED, project / "models" / name)
    other_configuration()
    (project / "models/zzz/config.json").write_text("{}")
    audit = audited()
    assert audit.failure is None
    assert "ancestors: models/aaa/config.json" in said(audit, "proved")


@pytest.mark.parametrize("left", [None, {"adapt"}])
def test_a_dvc_lock_that_lost_stages_hides_nothing(project: Path, left: set[str] | None) -> None:
    stages = {name: stage(f"cavmae {name}", path) for name, path in (("adapt", "models/adapted"), ("package", "models/final"))}
    lock(**stages)
    commit = commit_lock()
    assert not any(what == "versions: dvc.lock" for what in said(audited(), "broken", "differs", "claimed"))
    if left is None:
        Path("dvc.lock").unlink()
    else:
        lock(**{name: stages[name] for name in left})
    audit = audited()
    assert said(audit, "broken", "differs") == ["versions: dvc.lock"]
    number = "2 stages" if left is None else "1 stage"
    assert details(audit, "versions", "dvc.lock")[0].startswith(f"lacks {number} that commit {commit[:12]} has")
    (project / "models/final/README.md").write_text("other")
    assert "versions: models/final" in said(audited(), "broken")


def test_outputs_that_a_stage_lost_are_looked_at(project: Path) -> None:
    lock(all=stage("cavmae all", "models/adapted", "models/final"))
    commit_lock()
    lock(all=stage("cavmae all", "models/adapted"))
    (project / "models/final/README.md").write_text("other")
    audit = audited()
    assert said(audit, "broken") == ["versions: models/final"] and said(audit, "differs") == ["versions: dvc.lock"]
    assert "lacks 1 output that" in details(audit, "versions", "dvc.lock")[0]


@pytest.mark.parametrize("content", [b"stages: {", b"stages: 1", b"[]", b"", b"\xff\xfe\x00", b"stages:\n  a:\n    outs: [1]\n"])
def test_a_damaged_dvc_lock_is_told_of_and_the_committed_one_is_used(project: Path, content: bytes) -> None:
    lock(package=stage("cavmae package", "models/final"))
    commit_lock()
    Path("dvc.lock").write_bytes(content)
    (project / "models/final/README.md").write_text("other")
    audit = audited()
    assert said(audit, "broken") == ["versions: dvc.lock", "versions: models/final"] and not said(audit, "differs")


def test_a_dvc_lock_that_git_is_told_not_to_look_at_is_not_that_of_the_commit(project: Path) -> None:
    lock(package=stage("cavmae package", "models/final"))
    commit = commit_lock()
    assert any(finding.detail == f"dvc.lock, as in commit {commit[:12]}" for finding in audited().findings)
    subprocess.run(["git", "update-index", "--assume-unchanged", "dvc.lock"], check=True)
    lock(package=stage("cavmae package", "models/final"), more=stage("cavmae more"))
    details = [finding.detail for finding in audited().findings]
    assert "dvc.lock, not committed" in details and not any("as in commit" in detail for detail in details)


def test_parameters_of_data_and_figures_are_those_of_dvc_lock(project: Path) -> None:
    sections = yaml.safe_load(Path("params.yaml").read_text())
    lock(
        ingest=stage("cavmae ingest", ingest=sections["ingest"]),
        extract=stage("cavmae extract", **{"extract.workers": 0, "extract.frames": {"unknown": 1}}),
        validate=stage("cavmae validate", validate=sections["validate"] | {"split": 1}),
        evaluate=stage("cavmae evaluate", evaluate=sections["evaluate"]),
        finetune=stage("cavmae finetune", finetune={"lr": 12345}),  # the lineage has it
        compare=stage("cavmae compare", compare={"margin": 12345}),
    )
    sections["extract"] = sections["extract"] | {"workers": 0, "frames": 8}
    sections["evaluate"]["replicates"] += 1
    sections["evaluate"]["new"] = [1]
    Path("tests-params.yaml").write_text(yaml.safe_dump(sections))
    audit = audited()
    ours = ("ingest", "extract", "validate", "evaluate", "compare")
    found = [what.removeprefix("parameters: ") for what in said(audit, "differs", "proved") if what.startswith("parameters: ")]
    assert sorted(what for what in found if what.startswith(ours)) == [
        "evaluate.new",
        "evaluate.replicates",
        "extract.frames",
        "ingest in tests-params.yaml",
        "validate.split",
    ]
    lr = details(audit, "parameters", "finetune.lr")
    assert all("12345" not in detail for detail in lr), "once, and by the lineage"
    before = sections["evaluate"]["replicates"] - 1
    assert details(audit, "parameters", "evaluate.replicates") == [
        f"tests-params.yaml says {before + 1}, dvc.lock has {before}",
    ]
    sections = yaml.safe_load(Path("tests-params.yaml").read_text())
    pretrained = audit_model(Path("models/pretrained"), Path("data/validated"), Path("tests-params.yaml"), None, False)
    assert not details(pretrained, "parameters", "evaluate.replicates"), "it has no figures"
