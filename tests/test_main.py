"""The program ends as documented when it is asked to before its work has begun."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.steps.command import hear_interrupts
from tests.training.tiny import REPOSITORY

# asks itself to stop at the first import of a module, wherever in the start that is
_PROGRAM = """
import os, signal, sys
wanted, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = sys.argv[3:]
def hear(event, arguments):
    if event == "import" and arguments[0] == wanted and not hear.done:
        hear.done = True
        os.kill(os.getpid(), number)
hear.done = False
sys.addaudithook(hear)
from cavmae.__main__ import run
run()
"""


@pytest.mark.parametrize("module", ["yaml", "torch", "cavmae.training.runs"])
@pytest.mark.parametrize(("asked", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_in_the_start(tmp_path: Path, module: str, asked: signal.Signals, code: int) -> None:
    words = ["pretrain", "--dataset", str(tmp_path), "--start", str(tmp_path), "--model", str(tmp_path / "model")]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, module, str(int(asked)), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=hear_interrupts,
    )
    assert (done.returncode, done.stderr) == (code, "cavmae pretrain: stopped; run the same command to continue\n")
    assert list(tmp_path.iterdir()) == []
