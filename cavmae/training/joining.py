"""Joining the processes that a launcher such as torchrun started, and leaving them."""

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.training.collectives import OtherFailed, first_line
from cavmae.training.distributed import current_world

log = logging.getLogger(__name__)
_PATIENCE = timedelta(minutes=30)  # how long a process waits for another that does not answer
_A_MOMENT_S = 1.0
_LAUNCHER = "launch with torchrun, which sets it"


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Train together with the other processes of the launcher, where WORLD_SIZE says that there are any.

    RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say who they are, LOCAL_RANK which GPU is this one's. Only the first process
    logs. What all of them have to complain of is said once: a process whose error another one has raised in the same words
    ends with SystemExit and the error's exit code. Raises InputError where the variables or the GPUs do not fit, StepFailed
    where the others do not come.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield
        return
    rank, local = _number("RANK"), _number("LOCAL_RANK", 0)
    if not 0 <= rank < size:
        raise InputError(f"RANK is {rank} where WORLD_SIZE is {size}; {_LAUNCHER}")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise InputError(f"WORLD_SIZE is {size}, and {name} is not set; {_LAUNCHER}, or unset WORLD_SIZE")
    try:
        store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    except (RuntimeError, ValueError) as error:
        raise StepFailed(f"the {size} processes of this training did not come together ({first_line(error)})") from None
    if rank:
        logging.getLogger("cavmae").setLevel(logging.ERROR)
    try:
        if device == "cuda":
            _take_gpu(local)
        # numbers on the CPU go by gloo, also where gradients go by nccl
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=_PATIENCE)
        except RuntimeError as error:
            raise StepFailed(f"the {size} processes of this training cannot reach each other ({first_line(error)})") from None
        log.info("%d processes train together", size)
        yield
        current_world().wait()  # the first one writes what comes out
    except (InputError, StepFailed, Interrupted) as error:
        if not isinstance(error, OtherFailed) and _said_by_another(str(error), rank, size, store):
            raise SystemExit(error.exit_code) from None
        raise
    # after a failure the group is left as it is: to close it would wait for the others
    dist.destroy_process_group()


def _take_gpu(local: int) -> None:
    found = torch.cuda.device_count()
    if local >= found:
        raise InputError(
            f"torch sees {found} GPUs here, too few for one process each (LOCAL_RANK {local}); start fewer, or set device=cpu"
        )
    torch.cuda.set_device(local)


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "")
    if not text and default is not None:
        return default
    if not text.isdecimal():
        raise InputError(f"the environment variable {name} is {text!r}, not a number; {_LAUNCHER}")
    return int(text)


def _said_by_another(message: str, rank: int, size: int, store: Store) -> bool:
    """Whether another process has said it. The others let the first one go before: its log is the one that is read."""
    key = f"said/{hashlib.sha256(message.encode()).hexdigest()}"
    try:
        if rank:
            _until(lambda: bool(store.check([key])))
        said = store.add(key, 1) > 1
        if not rank:  # the store may end with this process
            _until(lambda: store.add(key, 0) == size)
        return bool(said)
    except RuntimeError:  # whoever kept the store is gone
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _A_MOMENT_S
    while time.monotonic() < deadline and not condition():
        time.sleep(0.02)
