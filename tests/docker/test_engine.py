"""docker/engine.sh, against a client that only answers: what it uses, refuses and leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.conftest import Engine
from tests.training.tiny import REPOSITORY

SCRIPT = str(REPOSITORY / "docker" / "engine.sh")
CLIENT = """#!/bin/sh
echo "$@" >>"{log}"
case "$1 $2" in
"version ") exit {version} ;;
"image inspect") exit {image} ;;
esac
exit 1
"""


class Fake:
    """A client that knows whether an engine answers and whether the base image is there, and notes what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, answers: bool = True, image: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        client = self.folder / "docker"
        client.write_text(CLIENT.format(log=self.folder / "asked", version=int(not answers), image=int(not image)))
        client.chmod(0o755)
        settings = {"CAVMAE_DOCKER_CLIENT": str(client), "CAVMAE_ENGINE_STATE": str(self.folder / "state")}
        return subprocess.run([SCRIPT, *words], capture_output=True, text=True, env=os.environ | settings | environment)

    @property
    def asked(self) -> set[str]:
        return set((self.folder / "asked").read_text().splitlines())


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_an_engine_that_answers_is_used_and_nothing_is_started_or_made(fake: Fake) -> None:
    done = fake.run("up")
    assert done.returncode == 0
    assert "ready at" in done.stderr
    assert fake.asked == {"version", "image inspect python:3.11-slim-bookworm"}
    assert not (fake.folder / "state").exists()


def test_no_engine_is_started_where_one_is_wanted_elsewhere(fake: Fake) -> None:
    done = fake.run("up", answers=False, DOCKER_HOST="tcp://127.0.0.1:1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "tcp://127.0.0.1:1" in done.stderr


def test_a_base_image_that_nobody_has_is_asked_for(fake: Fake) -> None:
    done = fake.run("up", image=False, CAVMAE_BASE_IMAGE="registry.invalid/base:1")
    assert done.returncode == 2
    assert "registry.invalid/base:1" in done.stderr.splitlines()[-1]
    assert "pull registry.invalid/base:1" in fake.asked


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_than_root_is_told_what_is_missing(fake: Fake) -> None:
    fake.folder.chmod(0o777)
    fake.run("up", answers=False, DOCKER_HOST="tcp://127.0.0.1:1")  # makes the client
    (fake.folder / "asked").chmod(0o666)
    settings = {"CAVMAE_DOCKER_CLIENT": "/bin/false", "CAVMAE_ENGINE_STATE": "/nowhere", "DOCKER_HOST": "unix:///nowhere.sock"}
    with open(SCRIPT) as script:
        words = ["setpriv", "--reuid", "65534", "--clear-groups", "bash", "-s", "up"]
        done = subprocess.run(words, stdin=script, capture_output=True, text=True, env=os.environ | settings, cwd="/")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "needs root" in done.stderr


def test_down_stops_no_process_that_up_did_not_start(fake: Fake) -> None:
    (fake.folder / "state").mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        for written in (str(bystander.pid), "1", "", "rubbish", "../1"):
            (fake.folder / "state" / "dockerd.pid").write_text(written)
            done = fake.run("down")
            assert done.returncode == 0
            assert "nothing to stop" in done.stderr
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.parametrize("words", [[], ["restart"], ["--help"]])
def test_what_it_does_not_know_shows_its_two_verbs(fake: Fake, words: list[str]) -> None:
    done = fake.run(*words)
    assert (done.returncode, done.stderr) == (2, "engine: usage: docker/engine.sh up|down\n")


@pytest.mark.docker
def test_a_running_engine_survives_the_down_of_another_state(engine: Engine, tmp_path: Path) -> None:
    settings = os.environ | {"CAVMAE_ENGINE_STATE": str(tmp_path)}
    subprocess.run([SCRIPT, "down"], check=True, env=settings, capture_output=True)
    assert engine.ask("version", check=False).returncode == 0
