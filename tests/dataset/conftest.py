"""Places that are in no folder of this machine, for sources and shards."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataset.cached import SIZE
from tests.dataset.remote import Remote
from tests.s3_service import S3Service
from tests.threads import ended


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAVMAE_WORK", raising=False)
    return tmp_path


@pytest.fixture
def bucket(s3_server: S3Service) -> str:
    return s3_server.bucket()


@pytest.fixture
def remote() -> Remote:
    return Remote({f"s{number}.tar": bytes([number]) * SIZE for number in range(10)})


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert ended(before)
