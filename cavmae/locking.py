"""One process at a time: a second command that would do the same work waits for the first."""

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from cavmae.storage import sha256_json, work_folder

log = logging.getLogger(__name__)
_POLL_S = 0.2
_SAY_EVERY_S = 60.0


@contextlib.contextmanager
def alone(*parts: str) -> Iterator[None]:
    """Hold the lock of the work that `parts` name; wait, and say so, while another process on this machine holds it.

    A process that was killed holds nothing: the system takes its lock away. Where the file system knows no locks, or the work
    folder cannot be written, the work goes on without.
    """
    path = work_folder("locks", f"{parts[0]}-{sha256_json(parts)[:16]}.lock")
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+", encoding="utf-8"))
        except OSError as error:
            log.debug("%s: works without a lock (%s)", path, error)
        else:
            if _take(file.fileno(), path):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
        yield


def try_lock(handle: int) -> bool:
    """Take the lock of an open file, which ends with the process; tell whether nobody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is there, which ends with the process; wait for it as long as it takes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> bool:
    """Wait for the lock; return whether there is one to be had."""
    said: float | None = None
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                log.debug("%s: the file system knows no locks (%s)", path, error)
                return False
        else:
            return True
        if said is None or time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            holder = path.read_text(encoding="utf-8", errors="replace").strip() or "unknown"
            log.warning("the same command is at work here already (process %s); waiting for its end", holder)
        time.sleep(_POLL_S)
