"""When the state of a run is saved, and by whom: in between two steps, or beside them where the model is on a GPU."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from cavmae.errors import StepFailed
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.state import on_host

log = logging.getLogger(__name__)


class Saver:
    """Saves a state every `every_s` seconds of `clock`.

    In the `background`, what is written is a copy that the next steps do not touch; writing it takes a thread. One at a time is
    written: a state that is due meanwhile waits until that is done, and what goes wrong is raised with the next call. `saved`
    marks the state that is on the disk already.
    """

    def __init__(
        self, checkpoints: Checkpoints, every_s: float, clock: Callable[[], float], background: bool, saved: Any = None
    ) -> None:
        self.checkpoints = checkpoints
        self._every_s, self._clock, self._background = every_s, clock, background
        self._at = clock()
        self._saved = saved
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def due(self) -> bool:
        """Whether it is time to save, and nothing is being written."""
        if self._thread is not None and not self._thread.is_alive():
            self.written()
        return self._thread is None and self._clock() - self._at >= self._every_s

    def save(self, step: int, mark: Any, state: dict[str, Any], last: bool = False) -> None:
        """Save the state after `step` steps unless the state of the same `mark` was saved before.

        Return when it is on the disk where it is the `last` or nothing goes on in the background. Raises StepFailed where the
        disk does not take it.
        """
        self.written()
        if mark != self._saved:
            self._saved = mark
            if self._background and not last:
                self._thread = threading.Thread(target=self._write, args=(step, on_host(state)), name="checkpoint")
                self._thread.start()
            else:
                self.checkpoints.save(step, state)
        self._at = self._clock()

    def written(self) -> None:
        """Return when what is being written is on the disk; raises what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error, self._saved = self._error, None, None
            raise error

    def end(self) -> None:
        """Return when nothing is being written any more; what went wrong with it is told, not raised."""
        try:
            self.written()
        except (StepFailed, OSError, RuntimeError) as error:
            log.warning("the last checkpoint was not written: %s", error)

    def _write(self, step: int, state: dict[str, Any]) -> None:
        try:
            self.checkpoints.save(step, state)
        except BaseException as error:  # raised again where the run is
            self._error = error
