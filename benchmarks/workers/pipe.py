"""The measured side's end of the pipe: one request a line, one answer a line, as JSON."""

import json
import os
import resource
import time
from typing import Any


class Missing(Exception):
    """A prerequisite that this process found missing; the benchmark ends with its name and exit code 2."""


class Turns:
    """Reads requests from standard input and answers on standard output, which everything else is kept away from."""

    def __init__(self) -> None:
        self._requests, self._answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what the libraries and the original print goes to the log
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)  # programs that are started from here must not read our requests
        os.close(nothing)

    def wait(self) -> dict[str, Any]:
        """Return the next request; raises SystemExit when there are no more."""
        line = self._requests.readline()
        if not line:
            raise SystemExit(0)
        request: dict[str, Any] = json.loads(line)
        return request

    def answer(self, **values: Any) -> None:
        """Answer the last request."""
        print(json.dumps(values), file=self._answers, flush=True)


class Meter:
    """Wall and CPU seconds of this process, all its threads and the programs it waited for, since `start`."""

    def start(self) -> None:
        """Begin to measure."""
        self._wall, self._cpu = time.perf_counter(), _cpu_s()

    def read(self) -> dict[str, float]:
        """Return {wall_s, cpu_s}."""
        return {"wall_s": time.perf_counter() - self._wall, "cpu_s": _cpu_s() - self._cpu}


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_bytes() -> int:
    """Return the most memory that this process, or a program it waited for, has held."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
