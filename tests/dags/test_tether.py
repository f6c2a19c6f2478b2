"""A command on a tether ends with who started it, in its own time, and with all that it started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TETHER = REPOSITORY / "dags" / "tether.py"
# says that it runs; when asked to stop it takes a moment, says so, and ends
PATIENT = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.3)
    pathlib.Path("stopped").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("runs").touch()
time.sleep(600)
"""
STUBBORN = (
    "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path('runs').touch(); time.sleep(600)"
)


def on_tether(folder: Path, *words: str, parent: int | None = None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(TETHER), str(parent or os.getpid()), *words]
    return subprocess.Popen(command, cwd=folder, start_new_session=True)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("end", "code"), [("sys.exit(0)", 0), ("sys.exit(2)", 2), ("os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_is_the_commands(tmp_path: Path, end: str, code: int) -> None:
    assert on_tether(tmp_path, sys.executable, "-c", f"import os, sys; {end}").wait(30) == code


def test_who_asks_it_to_stop_lets_it_save_its_state(tmp_path: Path) -> None:
    process = on_tether(tmp_path, "sh", "-c", '"$0" -c "$1"; true', sys.executable, PATIENT)
    wait_until((tmp_path / "runs").exists)
    process.terminate()
    process.terminate()  # a second word changes nothing
    process.wait(30)
    wait_until((tmp_path / "stopped").exists)
    wait_until(lambda: group_is_gone(process.pid))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys; words = [sys.executable, sys.argv[1], str(os.getpid()), sys.executable, '-c', sys.argv[2]]; "
        "process = subprocess.Popen(words, start_new_session=True); print(process.pid, flush=True); process.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(TETHER), PATIENT], cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    group = int(parent.stdout.readline())
    wait_until((tmp_path / "runs").exists)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until((tmp_path / "stopped").exists)
    wait_until(lambda: group_is_gone(group))


def test_it_starts_nothing_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    process = on_tether(tmp_path, sys.executable, "-c", PATIENT, parent=2**22)
    assert process.wait(30) == 128 + signal.SIGTERM and not (tmp_path / "runs").exists()


def test_what_does_not_stop_is_ended(tmp_path: Path) -> None:
    program = "import os, sys; from dags import tether; tether._PATIENCE_S = 1; tether.main(os.getppid(), sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, sys.executable, "-c", STUBBORN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )
    wait_until((tmp_path / "runs").exists)
    process.terminate()
    assert process.wait(30) == -signal.SIGKILL
    wait_until(lambda: group_is_gone(process.pid))
