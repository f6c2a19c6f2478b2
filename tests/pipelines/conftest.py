"""A Kubeflow that tests can talk to, and pipelines small enough to be compiled in a moment."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pipelines import cli
from pipelines.connection import Connection
from pipelines.kubeflow import Kubeflow
from tests.pipelines.fake_kubeflow import FakeKubeflow
from tests.pipelines.serving import serving

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fake() -> Iterator[FakeKubeflow]:
    """A Kubeflow that serves one user and asks for no credentials."""
    with serving(FakeKubeflow()) as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that connections made, which take no time."""
    made: list[float] = []
    monkeypatch.setattr(Connection, "pause", lambda _, seconds: made.append(seconds))
    return made


@pytest.fixture
def api(fake: FakeKubeflow, pauses: list[float]) -> Kubeflow:
    """The API of the fake, without a namespace."""
    return Kubeflow(Connection(fake.url, requests.Session()), None)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the Kubeflow, the docker login or the proxy of whoever runs it."""
    import os

    for name in [*os.environ]:
        if name.startswith(("CAVMAE_KFP_", "KF_PIPELINES_")) or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled pipeline with everything that compiled pipelines have: loop, branches, exit handler, platform part."""
    from tests.pipelines.toy_pipeline import compile_toy

    return compile_toy(tmp_path_factory.mktemp("toy") / "toy.yaml")


def run_of(**fields: Any) -> dict[str, Any]:
    """A run as the API tells of it."""
    return {"run_id": "r1", "display_name": "night", "state": "RUNNING", "created_at": "2026-11-21T10:00:00Z", **fields}


@pytest.fixture
def command(
    fake: FakeKubeflow, pauses: list[float], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Command:
    """Runs a command against the fake; gives exit code, what it printed, and what it said beside."""

    def run(*words: str) -> tuple[int, str, str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "pipelines"):
            code = cli.main([*words, "--host", fake.url])
        out, err = capsys.readouterr()
        said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("pipelines"))
        return code, out.strip(), (said + "\n" + err).strip()

    return run
