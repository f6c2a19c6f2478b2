"""Pointer, history and versions of the registry: what was changed there is named there."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cavmae.models.registries import open_registry
from cavmae.models.rollback import roll_back
from tests.audit.locks import lock, stage
from tests.audit.project import MODEL, audited, copied, said
from tests.models.promoting import model, put, version

PLACE = "models/registry"
CHAMPION, HISTORY = Path(PLACE, "champion.json"), Path(PLACE, "history.jsonl")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path / "project", monkeypatch)


@pytest.fixture
def kept(project: Path) -> Path:
    """The version of the final model in its registry."""
    put(PLACE, MODEL, None, "one")
    return Path(PLACE, "versions", version(MODEL))


def change(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def wrong() -> list[str]:
    return said(audited(PLACE, sources=False), "broken", "differs")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "metrics.json"])
def test_a_changed_file_of_the_registry_is_named_and_not_the_model(kept: Path, name: str) -> None:
    assert wrong() == []
    change(kept / name, (kept / name).read_bytes() + b" ")
    assert wrong() == [f"registry: {kept / name}"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "lineage.json"])
def test_a_missing_file_of_the_registry_is_named(kept: Path, name: str) -> None:
    (kept / name).unlink()
    assert wrong() == [f"registry: {kept / name}"]


def test_a_changed_lineage_of_the_registry_is_named_where_it_is_none_or_dvc_lock_vouches_for_the_model(kept: Path) -> None:
    whole = (kept / "lineage.json").read_bytes()
    change(kept / "lineage.json", b"{")
    assert wrong() == [f"registry: {kept / 'lineage.json'}"]
    change(kept / "lineage.json", json.dumps(json.loads(whole) | {"image": "other"}).encode())
    assert wrong() == ["registry: models/final/lineage.json"], "nothing tells which of them is right"
    lock(package=stage("cavmae package", "models/final"))
    assert wrong() == [f"registry: {kept / 'lineage.json'}"]


def test_a_changed_object_of_a_registry_on_s3_is_named(project: Path, request: pytest.FixtureRequest) -> None:
    place = f"s3://{request.getfixturevalue('s3_server').bucket()}/registry"
    put(place, MODEL, None, "one")
    store: Any = open_registry(place)
    name = next(name for name in store.store.names() if name.endswith("config.json"))
    store.store.write(name, b"{}")
    assert said(audited(place, sources=False), "broken") == [f"registry: {place}/{name}"]


def test_the_champion_is_what_the_history_tells(project: Path, kept: Path) -> None:
    put(PLACE, model(project / "other", "x"), MODEL, "two")
    assert wrong() == [] and "registry: models/registry/champion.json" in said(audited(PLACE, sources=False), "proved")
    roll_back(open_registry(PLACE), None, "three", "because", 1)
    put(PLACE, project / "other", MODEL, "four", promote=False)
    assert wrong() == [], "what was kept has moved nothing"
    pointer, lines = CHAMPION.read_bytes(), HISTORY.read_bytes().splitlines(keepends=True)
    for shorter in (lines[:2], lines[:1], []):
        HISTORY.write_bytes(b"".join(shorter))
        assert wrong() == ["registry: models/registry/champion.json"]
    HISTORY.unlink()
    assert wrong() == ["registry: models/registry/champion.json"], "a champion without a history"
    HISTORY.write_bytes(b"".join(lines))
    document = json.loads(pointer)
    for key, value in {"run_id": "five", "decision": "0" * 64, "outcome": "promoted", "sha256": "0" * 64}.items():
        CHAMPION.write_text(json.dumps(document | {key: value}))
        assert wrong() == ["registry: models/registry/champion.json"], key
    other = version(project / "other")
    CHAMPION.write_text(json.dumps(document | {"version": other, "sha256": other + "0" * 48}))
    assert wrong() == ["registry: models/registry/champion.json"]
    CHAMPION.write_bytes(b"{")
    assert wrong() == ["registry: models/registry/champion.json, line 1"]
    CHAMPION.unlink()
    assert wrong() == ["registry: models/registry/champion.json"]
    CHAMPION.write_bytes(pointer)
    assert wrong() == []
    shutil.rmtree(PLACE)
    assert wrong() == []


def test_a_damaged_pointer_does_not_hide_a_damaged_version(kept: Path) -> None:
    CHAMPION.write_text("{}")
    change(kept / "config.json", b"{}")
    assert wrong() == ["registry: models/registry/champion.json", f"registry: {kept / 'config.json'}"]
    HISTORY.write_bytes(b"{}\n")
    assert wrong() == ["registry: models/registry/history.jsonl, line 1"]
