"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)
_LOG_EVERY_S = 15.0


class Progress:
    """Counts `total` items of work; use as a context manager and call `advance`.

    `start` items were done by an earlier run. `clock` gives monotonic seconds and stands here for tests.
    """

    def __init__(
        self, label: str, total: int, unit: str = "clip", start: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._start = start
        self._clock = clock
        self._started = self._last_line = clock()
        self._bar = None
        if sys.stderr.isatty() and total:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit=unit, initial=start, leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        if kind is None and self.done > self._start:
            log.info("%s: %d %ss in %.1f s (%.1f/s)", self.label, self.done - self._start, self.unit, self.elapsed, self.rate)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    @property
    def rate(self) -> float:
        """Items per second of this run so far."""
        return (self.done - self._start) / max(self.elapsed, 1e-9)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Record `count` finished items; `note` is shown behind the bar or the line."""
        self.done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif self._clock() - self._last_line >= _LOG_EVERY_S:
            self._last_line = self._clock()
            log.info("%s: %d/%d %ss, %.1f/s %s", self.label, self.done, self.total, self.unit, self.rate, note)
