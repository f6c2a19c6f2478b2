"""The images at work as Kubernetes would confine them: read-only root file system, no network, a user without rights."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker.conftest import Engine, writable

pytestmark = pytest.mark.docker
Image = Callable[[str], str]


@pytest.fixture(scope="module")
def validated(engine: Engine, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the data image prepared a small sample set."""
    work = writable(tmp_path_factory.mktemp("containers") / "work")
    for words in (["ingest", "--source", "sample", "--set", "sample.clips=48"], ["extract"], ["validate"]):
        engine.run(image("data"), "cavmae", *words, work=work)
    return work


def test_help_is_shown(engine: Engine, either: str) -> None:
    assert "usage: cavmae" in engine.run(either).stdout  # what it does when it is told nothing
    assert "--source" in engine.run(either, "cavmae", "ingest", "--help").stdout


@pytest.mark.parametrize("user", ["1000:1000", "123456:0"])
def test_components_load_also_for_a_user_that_nobody_knows(engine: Engine, either: str, user: str) -> None:
    program = "import components, pipelines, kfp, cavmae, getpass; print(getpass.getuser())"
    assert engine.run(either, "python", "-c", program, options=["--user", user]).stdout.strip() == "cavmae"


def test_bytecode_is_there_and_fits(engine: Engine, either: str) -> None:
    """What cannot be written at run time would be compiled anew by every step."""
    said = engine.run(either, "python", "-v", "-c", "import components, kfp, cavmae.cli, great_expectations").stderr
    code = [line for line in said.splitlines() if line.startswith("# code object from") and "/opt/cavmae" in line]
    assert len(code) > 500
    assert [line for line in code if ".pyc" not in line] == []


def test_the_steps_prepare_data(validated: Path) -> None:
    verdict = json.loads((validated / "data" / "validated" / "verdict.json").read_text())
    assert verdict["passed"] is True
    assert list((validated / "data" / "shards").glob("*.tar"))


def test_a_step_that_may_not_write_says_so_in_one_line(engine: Engine, image: Image) -> None:
    failed = engine.run(image("data"), "cavmae", "ingest", "--source", "sample", "--set", "sample.clips=24", check=False)
    assert failed.returncode == 1
    assert "Read-only file system" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_sigterm_ends_training_with_a_checkpoint_that_the_next_container_goes_on_from(
    engine: Engine, image: Image, validated: Path
) -> None:
    engine.run(image("train"), "cavmae", "adapt", work=validated)
    words = ["cavmae", "pretrain", "--set", "epochs=4000", "--set", "batch_size=8"]
    first = stopped(engine, image("train"), words, validated)
    assert first[0] == 75, first[1]
    assert "stopped at step" in first[1]
    second = stopped(engine, image("train"), words, validated)
    assert second[0] == 75
    assert "resumed at step" in second[1]


def stopped(engine: Engine, name: str, words: list[str], work: Path) -> tuple[int, str]:
    """Exit code and log of a container that is stopped a little after it began to write TensorBoard's curves."""
    before = set(work.glob("runs/**/events*"))
    container = engine.ask("run", "--detach", *engine.confined(work), name, *words).stdout.strip()
    try:
        deadline = time.monotonic() + 60
        while set(work.glob("runs/**/events*")) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        engine.ask("stop", "--time", "60", container)
        code = int(engine.ask("wait", container).stdout)
        log = engine.ask("logs", container)
        return code, log.stdout + log.stderr
    finally:
        engine.ask("rm", "--force", container)
