"""Damaged, hostile and unreadable files: each is a finding, and none ends the audit."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from cavmae.audit.audit import audit_model
from cavmae.audit.findings import Audit
from cavmae.audit.line import parse_line
from cavmae.errors import InputError, StepFailed
from cavmae.stores_folder import FolderStore
from tests.audit.project import audited, copied, rewrite, said
from tests.models.promoting import put


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path / "project", monkeypatch)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "is damaged"),
        ('{"step": ["package"]}', "key 'step'"),
        ('{"step": {}}', "key 'step'"),
        ("{", "not valid JSON"),
        ('{"step": "x", "params": {}, "code": {"sha256": "y"}}', "key 'code.sha256'"),
        ('{"step": "x", "params": {}, "code": {"sha256": "%s", "commit": "--output=x"}}' % ("0" * 64), "key 'code.commit'"),
    ],
)
def test_a_lineage_that_is_none_is_broken(project: Path, content: str, says: str) -> None:
    (project / "models/final/lineage.json").write_text(content)
    audit = audited()
    assert said(audit, "broken") == ["model: models/final/lineage.json"] and says in str(audit.failure)
    put("models/registry", Path("models/averaged"), None, "one")
    assert "registry: models/final/lineage.json" in said(audited("models/registry"), "broken"), "the registry keeps the whole one"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_model_without_weights_or_configuration_is_broken(project: Path, name: str) -> None:
    (project / "models/final" / name).unlink()
    assert said(audited(), "broken") == [f"model: models/final/{name}"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", ""])
def test_a_file_outside_the_folder_is_named_as_that(project: Path, name: str) -> None:
    def change(document: dict[str, Any]) -> None:
        parent = document["parents"]["start"]["lineage"]["parents"]["start"]
        parent["lineage"]["dataset"][name] = "0" * 64
        parent["lineage"]["epochs"] = {name: "0" * 64}
        parent["files"][name] = "0" * 64

    rewrite(project, change)
    outside = [finding for finding in audited().findings if "names a file outside the folder" in finding.detail]
    assert [finding.state for finding in outside] == ["broken"] * 3
    assert [finding.what for finding in outside] == [
        f"models/finetuned, {name!r}",
        f"epochs, {name!r}",
        f"data/validated, {name!r}",
    ]
    assert "is missing" not in str(audited().document())


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("data/validated/location.json", '{"root": "a\\u0000b"}', "data: data/validated/location.json"),
        ("data/validated/location.json", "{", "data: data/validated/location.json, line 1"),
        ("data/validated/location.json", '{"root": "s3://"}', "data: s3://"),
        ("data/validated/index.json", '{"shards": [{"name": "../x", "sha256": "0"}]}', "data: data/shards/../x.tar"),
        ("data/validated/index.json", '{"shards": [{"name": "\\ud800", "sha256": "0"}]}', "data: data/shards/\\ud800.tar"),
        ("tests-params.yaml", "a: " + "1:" * 190 + "1.5\n", "parameters: package in tests-params.yaml"),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_a_finding(project: Path, file: str, content: str, named: str) -> None:
    (project / file).unlink(missing_ok=True)
    (project / file).write_text(content)
    assert named in said(audited(sources=False), "broken", "differs")


def test_a_folder_that_is_a_link_to_itself_holds_nothing(project: Path) -> None:
    for folder, part in (("data/shards", "data"), ("models/adapted", "ancestors")):
        shutil.rmtree(project / folder)
        (project / folder).symlink_to(Path(folder).name)
        assert any(line.startswith(part) for line in said(audited(sources=False), "broken", "claimed"))


def test_a_shard_on_this_machine_that_cannot_be_read_is_broken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: FolderStore, name: str, offset: int, length: int) -> bytes:
        raise StepFailed(f"{self.uri(name)}: Input/output error")

    monkeypatch.setattr(FolderStore, "read_range", fails)
    assert "data: data/shards/train-00000.tar" in said(audited(sources=False), "broken")


def test_a_neighbour_that_is_closed_to_us_says_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.is_file

    def closed(self: Path) -> bool:
        if "private" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    shutil.copytree("models/adapted", "models/private")
    monkeypatch.setattr(Path, "is_file", closed)
    assert not said(audited(sources=False), "broken")


def test_a_name_moves_no_cursor_and_breaks_no_line() -> None:
    audit = Audit("m")
    audit.add("model", "a\nb\x1b[2A\u202e ä…", "broken", "is\tnone")
    assert audit.failure == r"a\nb\x1b[2A\u202e ä…: broken (is\tnone)"


def test_a_line_of_a_hundred_retrainings_is_walked() -> None:
    document: dict[str, Any] = {"step": "s", "params": {}, "code": {"sha256": "0" * 64}}
    for _ in range(299):
        document = document | {"parents": {"start": {"files": {}, "lineage": document}}}
    assert len(parse_line(document, "here")) == 300


def test_a_folder_without_a_lineage_is_no_model(project: Path) -> None:
    with pytest.raises(InputError, match="holds no lineage"):
        audit_model(Path("data"), Path("data/validated"), Path("params.yaml"), None)
