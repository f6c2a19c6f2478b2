"""A server that plays a cluster, and a step's files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components.api_server import ApiServer
from tests.components.following import quick


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(server.write_config(tmp_path / "kubeconfig")))
    for name in [name for name in os.environ if name.startswith(("CAVMAE_", "AWS_", "KFP_"))]:
        monkeypatch.delenv(name)
    quick(monkeypatch)
    yield server
    server.close()
    assert server.wrong == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a step's inputs, and the volume that it shares with the nodes."""
    dataset = tmp_path / "dataset"
    (dataset / "docs").mkdir(parents=True)
    (dataset / "index.json").write_text("{}")
    (dataset / "docs" / "page.html").write_text("x")
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "shared").mkdir()
    return tmp_path
