"""Two programs that are measured in turns: while one works the other waits, so that a busy machine burdens both alike."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cavmae.errors import InputError, StepFailed

ROOT = Path(__file__).resolve().parent.parent
_LOG_LINES = 12


class Worker:
    """A program `python -m MODULE` that answers requests."""

    def __init__(self, python: Path, module: str, settings: dict[str, Any], threads: int, path: Sequence[Path] = ()) -> None:
        self.name = module.rpartition(".")[2]
        self._log: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the worker
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(threads, path, cpu_only=settings.get("device") != "cuda"),
        )
        self._say(settings)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        self._log.close()

    def _say(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def hear(self) -> dict[str, Any]:
        """Return the answer; raises InputError where the program misses something, StepFailed where it ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise InputError(answer["missing"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer."""
        self._say(request)
        return self.hear()

    def finish(self) -> None:
        """Let the worker end by itself: it hears that there are no more requests."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise self._failure()

    def _failure(self) -> StepFailed:
        code = self._process.wait()
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        return StepFailed(f"{self.name} ended with code {code}; the end of what it wrote:\n" + "\n".join(lines[-_LOG_LINES:]))


@contextmanager
def workers(*wanted: tuple[Path, str, dict[str, Any], int, Sequence[Path]]) -> Iterator[list[Worker]]:
    """Start several workers one after another, and end them in the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(Worker(*one)) for one in wanted]


def in_turns(workers: Sequence[Worker], turns: int, **request: Any) -> list[list[dict[str, Any]]]:
    """Give every worker `turns` turns, in changing order; return each one's answers."""
    answers: list[list[dict[str, Any]]] = [[] for _ in workers]
    for turn in range(turns):
        order = range(len(workers)) if turn % 2 == 0 else range(len(workers) - 1, -1, -1)
        for at in order:
            answers[at].append(workers[at].ask(turn=turn, **request))
    return answers


def _environment(threads: int, path: Sequence[Path], cpu_only: bool) -> dict[str, str]:
    """The environment of a worker: its threads, and nobody spinning while the other one works."""
    environment = dict(os.environ)
    count = str(threads)
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *path))), "PYTHONUNBUFFERED": "1"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}  # nothing is written into the user's checkout
    if cpu_only:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    else:
        # the original would spread a batch over all GPUs that it sees
        environment["CUDA_VISIBLE_DEVICES"] = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return environment
