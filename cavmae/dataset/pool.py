"""A pool of processes that decode shards, and survives what decoders do to processes.

A worker tells which clip it is about to read. Where it dies or stays on one clip too long, that clip is written down as
poisoned, a new worker takes its place, and the shard starts over without the clip.
"""

import contextlib
import logging
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from cavmae.dataset.fetching import fetching_folder
from cavmae.dataset.shards import OnClip, ShardTask, write_shard
from cavmae.errors import InputError, StepFailed
from cavmae.storage import remove_leftovers

log = logging.getLogger(__name__)
_POLL_S = 0.5

Writer = Callable[[Path, ShardTask, OnClip], None]


@dataclass
class _Job:
    task: ShardTask
    announced: int = 0  # clips that the caller has heard of


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: _Job | None
    ready: bool = False
    gone: bool = False
    clip: str | None = None  # being read now
    since: float = 0.0
    begun: int = 0  # clips of the job


class _Clock:
    """Seconds in which the workers could work: a stop of this process (Ctrl-Z, a laptop asleep) stopped them as well."""

    def __init__(self) -> None:
        self.now = 0.0
        self._last = time.monotonic()

    def tick(self) -> None:
        time_now = time.monotonic()
        self.now += min(time_now - self._last, 2 * _POLL_S)
        self._last = time_now


def write_shards(
    folder: Path,
    tasks: Iterable[ShardTask],
    workers: int,
    clip_timeout_s: float,
    on_clip: Callable[[], None],
    write: Writer = write_shard,
) -> Iterator[str]:
    """Write every shard of `tasks` into `folder`, `workers` at a time; yield the name of each as it is done.

    `on_clip` is called once for every clip that is read. `write`, a function of a module, writes one shard. Raises
    StepFailed, or InputError, where a worker fails for another reason than a clip, such as a full disk; no half-written
    file is left then.
    """
    again: deque[_Job] = deque()
    waiting = map(_Job, tasks)
    crew: list[_Worker] = []
    clock = _Clock()

    def next_job() -> _Job | None:
        return again.popleft() if again else next(waiting, None)

    try:
        while True:
            for worker in crew:
                if worker.job is None and (job := next_job()):
                    _hand_over(worker, job)
            while len(crew) < workers and (job := next_job()):
                crew.append(_start(folder, job, write))
            busy = [worker for worker in crew if worker.job is not None]
            if not busy:
                return
            wait([worker.pipe for worker in busy], timeout=_POLL_S)
            clock.tick()
            for worker in busy:
                done = _listen(worker, clock.now, on_clip)
                if done:
                    yield done
                elif worker.gone or (worker.clip is not None and clock.now - worker.since > clip_timeout_s):
                    crew.remove(worker)
                    again.append(_poison(folder, worker, clip_timeout_s))
    finally:
        for worker in crew:
            _kill(folder, worker)


def _start(folder: Path, job: _Job, write: Writer) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(folder, theirs, write), daemon=True)
    with deaf_children():
        process.start()
    theirs.close()
    return _Worker(process, ours, job)


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started within never hear Ctrl-C: their parent does, and ends them without a word of theirs."""
    resource_tracker.ensure_running()  # starting it later, with the first process, would let SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hand_over(worker: _Worker, job: _Job) -> None:
    worker.job, worker.clip, worker.begun = job, None, 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a worker that has died is seen when it is heard
        worker.pipe.send(job.task)


def _listen(worker: _Worker, now: float, on_clip: Callable[[], None]) -> str | None:
    """Read what a worker has sent; return the name of a finished shard."""
    assert worker.job is not None
    try:
        while worker.pipe.poll():
            kind, value = worker.pipe.recv()
            if kind == "ready":
                _hand_over(worker, worker.job)
            elif kind == "clip":
                worker.clip, worker.since = value, now
                if value is not None:
                    worker.begun += 1
                    if worker.begun > worker.job.announced:
                        worker.job.announced = worker.begun
                        on_clip()
            elif kind == "done":
                worker.job = None
                return str(value)
            else:
                raise (InputError if kind == "refused" else StepFailed)(value)
    except (EOFError, ConnectionResetError):
        worker.gone = True
    return None


def _poison(folder: Path, worker: _Worker, timeout_s: float) -> _Job:
    """End a worker and return its job without the clip that it was reading."""
    assert worker.job is not None
    _kill(folder, worker)
    code = worker.process.exitcode
    if worker.clip is None:
        raise StepFailed(f"a decoding process ended while it read no clip (exit code {code}); is memory short? run extract again")
    if worker.gone:
        why = ("decoder_crashed", f"Decoding this file ended the process (exit code {code}).")
    else:
        why = ("decoder_timeout", f"Decoding this file took longer than {timeout_s:g} s.")
    log.warning("extract: clip %s: %s It is quarantined, and its shard starts over.", worker.clip, why[1])
    task = worker.job.task
    return _Job(replace(task, poisoned={**task.poisoned, worker.clip: why}), worker.job.announced)


def _kill(folder: Path, worker: _Worker) -> None:
    if not worker.gone:
        worker.process.kill()
    worker.process.join()
    worker.pipe.close()
    remove_leftovers(folder, worker.process.pid)
    if worker.process.pid is not None:
        shutil.rmtree(fetching_folder(folder, worker.process.pid), ignore_errors=True)


def _work(folder: Path, pipe: Connection, write: Writer) -> None:
    """Body of a worker process: it ends when the parent does, because the pipe does."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(("ready", None))
        while True:
            task: ShardTask = pipe.recv()
            try:
                write(folder, task, lambda video_id: pipe.send(("clip", video_id)))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except (InputError, StepFailed) as error:
                pipe.send(("refused" if isinstance(error, InputError) else "failed", str(error)))
                return
            except OSError as error:
                pipe.send(("failed", f"shard {task.name} cannot be written to {folder} ({error.strerror or error})"))
                return
            pipe.send(("done", task.name))
