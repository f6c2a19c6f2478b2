"""The engine and the images of this commit; tests in containers skip where one of them is not there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.training.tiny import REPOSITORY

USER = 1000


class Engine:
    """A docker client whose engine answers; containers have a read-only root, memory at /tmp, no network and no rights."""

    def __init__(self, client: str) -> None:
        self.client = client

    def ask(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.client, *words], check=check, capture_output=True, text=True, timeout=300)

    def run(
        self, image: str, *words: str, work: Path | None = None, options: Sequence[str] = (), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return self.ask("run", "--rm", *self.confined(work), *options, image, *words, check=check)

    @staticmethod
    def confined(work: Path | None = None) -> list[str]:
        mount = [f"--mount=type=bind,source={work},target=/work"] if work else []
        rights = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        return ["--read-only", "--tmpfs", "/tmp", "--network", "none", *rights, *mount]


@pytest.fixture(scope="session")
def engine() -> Engine:
    for client in (os.environ.get("CAVMAE_DOCKER_CLIENT"), "/usr/bin/docker", shutil.which("docker")):
        if client and Path(client).exists() and Engine(client).ask("version", check=False).returncode == 0:
            return Engine(client)
    pytest.skip("no container engine answers; start one with `make engine`")


@pytest.fixture(scope="session")
def image(engine: Engine) -> Callable[[str], str]:
    """The name of the image `data` or `train` of the working copy's commit."""

    def named(target: str) -> str:
        words = [sys.executable, str(REPOSITORY / "docker" / "build.py"), "--names", target]
        name = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        if engine.ask("image", "inspect", name, check=False).returncode:
            pytest.skip(f"{name} is not built; run `make images`")
        return name

    return named


@pytest.fixture(params=["data", "train"])
def either(request: pytest.FixtureRequest, image: Callable[[str], str]) -> str:
    """Each of the two images in turn."""
    return image(request.param)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder that the images' user may write to."""
    return writable(tmp_path / "work")


def writable(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o777)
    return folder
