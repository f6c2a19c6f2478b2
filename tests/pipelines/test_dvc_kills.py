"""`dvc repro` of the real graph, small: killed in or after a training, it goes on where that was, to the same bits."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.tiny import REPOSITORY, SETTINGS, same_files

pytestmark = pytest.mark.slow

# `cavmae` on the path of DVC's stages; where FAULT names its step, its group or DVC is killed, before an event or at the end
_PROGRAM = """#!{python}
import atexit, os, signal, sys
from pathlib import Path
from cavmae.__main__ import run
from cavmae.training.finetuning import Finetuning
from cavmae.training.pretraining import Pretraining
from tests.training.faults import Events
step, at, whom = os.environ.get("FAULT", "none 0 group").split()
def strike(*_):
    os.killpg(0, signal.SIGKILL) if whom == "group" else os.kill(os.getppid(), signal.SIGKILL)
if __name__ == "__main__":
    if sys.argv[1] == step and at == "end":
        atexit.register(strike)
    elif sys.argv[1] == step:
        events = Events(Path.cwd(), int(at), "SIGUSR1")
        signal.signal(signal.SIGUSR1, strike)
        for kind in (Pretraining, Finetuning):
            events.calls(kind, "loss", "loss")
        sys.addaudithook(events.hear)
    run()
"""


def set_in(document: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for name in above:
        document = document[name]
    document[last] = yaml.safe_load(value) if isinstance(value, str) else value


def project(folder: Path) -> Path:
    """A DVC project with the graph up to fine-tuning and small parameters."""
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / "cavmae", folder / "cavmae", ignore=shutil.ignore_patterns("__pycache__"))
    document = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in (SETTINGS | {"pretrain": {**SETTINGS["pretrain"], "epochs": 6, "checkpoint_s": 1e-9}}).items():
        for key, value in values.items():
            set_in(document[section], key, value)
    (folder / "params.yaml").write_text(yaml.safe_dump(document))
    (folder / "bin").mkdir()
    (folder / "bin" / "cavmae").write_text(_PROGRAM.format(python=sys.executable))
    (folder / "bin" / "cavmae").chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["dvc", "init", "-q"], cwd=folder, check=True)
    return folder


def repro(folder: Path, fault: str = "") -> tuple[int, str]:
    """`dvc repro` up to pretraining, in a session of its own; return its exit code and what it and its stages said."""
    given = {"FAULT": fault} if fault else {}
    places = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": f"{folder}:{REPOSITORY}", "SHELL": "/bin/bash"}
    with (folder / "log").open("w") as log:
        done = subprocess.run(
            ["dvc", "repro", "pretrain"],
            cwd=folder,
            env={**os.environ, **places, **given},
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
        )
    return done.returncode, (folder / "log").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("dvc") / "undisturbed")
    code, said = repro(folder)
    assert code == 0, said
    return folder


@pytest.mark.parametrize(
    ("fault", "resumed"), [("pretrain 70 group", range(4, 18)), ("pretrain end group", [18]), ("pretrain 40 dvc", [18])]
)
def test_a_repro_that_was_killed_goes_on(undisturbed: Path, tmp_path: Path, fault: str, resumed: Any) -> None:
    folder = project(tmp_path / "killed")
    code, said = repro(folder, fault)
    assert code == -signal.SIGKILL, said
    assert not (folder / "dvc.lock").exists() or "pretrain" not in yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    code, said = repro(folder)
    assert code == 0, said
    (line,) = [line for line in said.splitlines() if line.startswith("resumed at step")]
    assert int(line.rpartition(" ")[2]) in resumed, said
    assert ("waiting for its end" in said) <= fault.endswith("dvc")
    for name in ("models/pretrained", "models/adapted", "metrics", "data/shards"):
        assert same_files(folder / name, undisturbed / name) == []
    locks = [yaml.safe_load((one / "dvc.lock").read_text())["stages"]["pretrain"] for one in (folder, undisturbed)]
    assert locks[0] == locks[1]
