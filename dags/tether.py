"""`python tether.py PARENT COMMAND…`: a command that ends when the process PARENT does, or when it is asked to.

All that the command started is asked to stop, has time to save its state, and is then ended. Who asks need not wait for that:
Airflow gives a task five seconds.
"""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

_PATIENCE_S = 60
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: int, words: list[str]) -> int:
    """Run the command in the process group that this process leads; return its exit code."""
    signal.signal(signal.SIGTERM, _end)
    with suppress(AttributeError):  # where this is not Linux, a parent that is killed leaves the command behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM
    code = subprocess.Popen(words).wait()
    return code if code >= 0 else 128 - code


def _end(_: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(_PATIENCE_S)
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
