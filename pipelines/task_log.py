"""The log of a run on this machine, without what kfp's runners print around the words of the steps."""

import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LISTING = re.compile(r"INFO - Task '[^']*' (outputs:|has no outputs)")
_DROPPED = re.compile(r"\s*(-{20,}|Found image '.*'|.*INFO - Streamed logs:|\[KFP Executor .*|Cleaned up workspace: .*|)\n?")
_COMPLAINT = re.compile(r"\s*(cavmae [a-z]+: .*)")
_NEW_ENTRY = re.compile(r"\d\d:\d\d:\d\d\.\d+ - (INFO|ERROR|WARNING) - |\s*-{20,}")


class TaskLog(io.TextIOBase):
    """Passes lines on to `out`, but for the parameters of each task, lists of its outputs, colours and rulers."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._line = out, ""
        self._within: str | None = None  # what is being left out
        self.complaint = ""  # the last line in which a step says why it failed

    def write(self, text: str) -> int:
        """Take a piece of the log; whole lines are passed on."""
        self._line += text
        while "\n" in self._line:
            line, _, self._line = self._line.partition("\n")
            if self._passes(line := _COLOUR.sub("", line)):
                self._out.write(line + "\n")
                if (found := _COMPLAINT.fullmatch(line)) is not None:
                    self.complaint = found[1]
        return len(text)

    def flush(self) -> None:
        """Flush what was passed on."""
        self._out.flush()

    def _passes(self, line: str) -> bool:
        if self._within == "parameters":
            if line.rstrip() in ("}", "    }"):
                self._within = None
            return False
        if self._within == "outputs":
            if not _NEW_ENTRY.match(line):
                return False
            self._within = None
        if "Got executor_input:" in line:
            self._within = "parameters"
            return False
        if _LISTING.search(line):
            self._within = "outputs"
            return False
        return _DROPPED.fullmatch(line) is None


@contextmanager
def words_of_the_steps() -> Iterator[TaskLog]:
    """Have what kfp prints go through a TaskLog."""
    log = TaskLog(sys.stdout)
    with redirect_stdout(log), warnings.catch_warnings():
        # processes are what was asked for: that they have no image, and no limits, goes without saying
        warnings.filterwarnings("ignore", message="You may be attemping", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message=".*have no effect in the current local runner", category=UserWarning)
        yield log
