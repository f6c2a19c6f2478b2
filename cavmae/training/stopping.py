"""Being asked to stop: a signal ends what goes on at once, but for the moments in which the state of the run changes."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any


class StopAsked(BaseException):
    """A signal asks the run to stop. No `except Exception` on the way takes it for an error of its own."""


class StoppedTogether(StopAsked):
    """All processes that train together stop, after the same step."""


class StopRequest:
    """Listens to signals while it is entered; `asked` is the first that came. Only the main thread can hear them.

    Within `heard`, that one raises StopAsked wherever the work is, in a long validation or waiting for slow storage; within
    `held`, only when that is left. Anywhere else it is remembered. A second SIGINT raises KeyboardInterrupt anywhere.
    """

    def __init__(self, signals: Sequence[signal.Signals]) -> None:
        self.asked: signal.Signals | None = None
        self._signals = signals
        self._deaf = 1
        self._raised = False
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> "StopRequest":
        with contextlib.suppress(ValueError):  # in another thread
            self._before = [(number, signal.signal(number, self._ask)) for number in self._signals]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before:
            signal.signal(number, before)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """A stretch of work that a signal interrupts."""
        before, self._deaf = self._deaf, 0
        try:
            self._raise_once()
            yield
        finally:
            self._deaf = before

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A stretch of such work that a signal does not interrupt."""
        self._deaf += 1
        try:
            yield
        finally:
            self._deaf -= 1
        self._raise_once()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked is None:
            self.asked = signal.Signals(number)
        self._raise_once()

    def _raise_once(self) -> None:
        if self.asked is not None and not self._deaf and not self._raised:
            self._raised = True
            raise StopAsked
