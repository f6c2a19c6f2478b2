"""Fixtures that many tests share."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cavmae import stores
from tests.s3_service import S3Service

REPOSITORY = Path(__file__).resolve().parent.parent
# a shell's background job ignores SIGINT, and so would all that tests start and press Ctrl-C at
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and real media; tests that need it skip where it is not."""
    folder = Path(os.environ.get("CAVMAE_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no golden numbers or real media at {folder}; set CAVMAE_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The folder of golden numbers."""
    return shared / "golden"


@pytest.fixture(scope="session")
def formula(golden: Path) -> ModuleType:
    """The deterministic fill of the golden fixtures: `fill`, `inp`, `u01`."""
    spec = importlib.util.spec_from_file_location("fill_formula", golden / "fill_formula.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def s3_service() -> Iterator[S3Service]:
    """One S3 service for the whole test run; `s3_server` is what tests take."""
    service = S3Service()
    yield service
    service.stop()


@pytest.fixture
def s3_server(s3_service: S3Service, monkeypatch: pytest.MonkeyPatch) -> S3Service:
    """An S3 service on this machine: `endpoint`, `bucket()` for a new bucket, and what boto3 needs set in the environment."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_service.environment.items():
        monkeypatch.setenv(name, value)
    stores._bucket.cache_clear()  # a connection of an earlier test may have had other credentials
    return s3_service


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that holds nothing yet: a folder that is still to be made, or a prefix on a real S3 service."""
    if request.param == "folder":
        return str(tmp_path / "there")
    service: S3Service = request.getfixturevalue("s3_server")
    return f"s3://{service.bucket()}/there"
