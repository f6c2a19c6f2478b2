"""The command line as a process of its own, in a group that can be killed."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import REPOSITORY


def start(arguments: Sequence[str], folder: Path, *program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *(program or ("cavmae",)), *arguments, "--params", str(REPOSITORY / "params.yaml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so would the tests' own children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command to its end; return exit code and what it said."""
    process = start(arguments, folder)
    said, errors = process.communicate(timeout=120)
    return process.returncode, said + errors


def die(arguments: Sequence[str], folder: Path, stored: int) -> bool:
    """Run a command that is killed once it has stored so many files; tell whether it was, and did not end before."""
    process = start(arguments, folder, "tests.steps.dying", str(stored))
    said, errors = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), said + errors
    return process.returncode != 0


def kill_in_the_middle(arguments: Sequence[str], folder: Path, watched: Path, files: int, rng: random.Random) -> bool:
    """Kill the whole process group at a random moment after `files` new files have come up; tell whether it was still at work."""
    before = len(list(watched.rglob("*")))
    process = start(arguments, folder)
    while process.poll() is None and len(list(watched.rglob("*"))) < before + files:
        time.sleep(0.002)
    time.sleep(rng.random() * 0.05)
    at_work = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return at_work


def group_ends(group: int, within_s: float = 10.0) -> bool:
    """Tell whether every process of a group ends in time; whatever does not is killed."""
    deadline = time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return True
    return False


def contents(folder: Path) -> dict[str, bytes]:
    """{path within the folder: content} of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
