"""A pool of processes that decode shards, and survives what decoders do to processes.

A worker tells which clip it is about to read. Where it dies or stays on one clip too long, that clip is written down as
poisoned, a new worker takes its place, and the shard starts over without the clip.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from cavmae.dataset.shards import ShardTask, write_shard
from cavmae.errors import StepFailed

log = logging.getLogger(__name__)
_POLL_S = 0.5


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: ShardTask | None = None
    clip: str | None = None
    since: float = 0.0


def write_shards(
    folder: Path, tasks: Iterable[ShardTask], workers: int, clip_timeout_s: float, on_clip: Callable[[], None]
) -> Iterator[str]:
    """Write every shard of `tasks` into `folder`, `workers` at a time; yield the name of each as it is done.

    `on_clip` is called once for every clip read. Raises StepFailed where a worker fails for another reason than a clip,
    such as a full disk.
    """
    waiting = iter(tasks)
    again: deque[ShardTask] = deque()
    crew: list[_Worker] = []
    try:
        while True:
            while len(crew) < workers:
                crew.append(_start(folder))
            for worker in crew:
                if worker.task is None:
                    task = again.popleft() if again else next(waiting, None)
                    if task is not None:
                        worker.task, worker.clip, worker.since = task, None, time.monotonic()
                        worker.pipe.send(task)
            busy = [worker for worker in crew if worker.task is not None]
            if not busy:
                return
            wait([worker.pipe for worker in busy], timeout=_POLL_S)
            for worker in busy:
                done, finished = _listen(worker, on_clip)
                if done:
                    yield done
                elif finished or time.monotonic() - worker.since > clip_timeout_s:
                    crew.remove(worker)
                    again.append(_poison(worker, died=finished, timeout_s=clip_timeout_s))
    finally:
        for worker in crew:
            worker.process.kill()
            worker.process.join()


def _start(folder: Path) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _listen(worker: _Worker, on_clip: Callable[[], None]) -> tuple[str | None, bool]:
    """Read what a worker has sent; return the name of a finished shard, and whether the worker is gone."""
    try:
        while worker.pipe.poll():
            kind, value = worker.pipe.recv()
            worker.since = time.monotonic()
            if kind == "clip":
                worker.clip = value
                on_clip()
            elif kind == "done":
                worker.task = None
                return value, False
            else:
                raise StepFailed(value)
    except (EOFError, ConnectionResetError):
        return None, True
    return None, False


def _poison(worker: _Worker, died: bool, timeout_s: float) -> ShardTask:
    assert worker.task is not None
    worker.process.kill()
    worker.process.join()
    if worker.clip is None:
        raise StepFailed(
            f"a decoding process ended before its first clip (exit code {worker.process.exitcode}); is memory short?"
        )
    if died:
        why = ("decoder_crashed", f"Decoding this file ended the process (exit code {worker.process.exitcode}).")
    else:
        why = ("decoder_timeout", f"Decoding this file took longer than {timeout_s:g} s.")
    log.warning("extract: clip %s: %s; it is quarantined and its shard starts over", worker.clip, why[1])
    return replace(worker.task, poisoned={**worker.task.poisoned, worker.clip: why})


def _work(folder: Path, pipe: Connection) -> None:
    """Body of a worker process: it ends when the parent does, because the pipe does."""
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            task: ShardTask = pipe.recv()
            try:
                write_shard(folder, task, lambda video_id: pipe.send(("clip", video_id)))
            except BrokenPipeError:
                raise
            except OSError as error:
                pipe.send(("failed", f"shard {task.name} cannot be written to {folder} ({error.strerror or error})"))
                return
            pipe.send(("done", task.name))
