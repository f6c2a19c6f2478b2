"""Being asked to stop: a signal is remembered, and heeded between two steps."""

import contextlib
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Listens to signals while it is entered; `asked` tells whether one came. Only the main thread can hear them."""

    def __init__(self, signals: Sequence[signal.Signals]) -> None:
        self.asked = False
        self._signals = signals
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> "StopRequest":
        with contextlib.suppress(ValueError):  # in another thread
            self._before = [(number, signal.signal(number, self._ask)) for number in self._signals]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before:
            signal.signal(number, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
