"""The program `cavmae`, also as `python -m cavmae`: it ends as documented whenever it is asked to."""

import logging
import os
import signal
import sys
from types import FrameType

_STOPPED = 75
_INTERRUPTED = 130


def run() -> None:
    """Run one command and end the process with its exit code.

    SIGTERM ends it at once with 75: whatever is being written is whole or not there, and a training that has begun to step hears
    the signal itself and saves first.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        from cavmae.cli import main

        code = main()
    except KeyboardInterrupt:  # in the imports
        _say("stopped; run the same command to continue")
        code = _INTERRUPTED
    if code in (_STOPPED, _INTERRUPTED):
        # without waiting for threads, which may hang on a disk or a network: what counts is saved
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _leave(number: int, frame: FrameType | None) -> None:
    _say("stopped; run the same command to continue")
    os._exit(_STOPPED)


def _say(message: str) -> None:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    os.write(2, f"cavmae {name}: {message}\n".encode())


if __name__ == "__main__":
    run()
