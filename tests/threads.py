"""Waiting for threads that were told to end, however busy the machine is."""

import threading
import time

_DEADLINE_S = 60


def ended(before: int) -> bool:
    """Whether no more threads than `before` are left, after some patience."""
    until = time.monotonic() + _DEADLINE_S
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    return threading.active_count() <= before
