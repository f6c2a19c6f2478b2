"""Several processes that train one model: which part of a batch is whose, and what they tell each other."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from cavmae.models.batch_share import BatchShare
from cavmae.training.collectives import together

_BUCKET = 1 << 24  # numbers that are summed over the processes at a time


@dataclass(frozen=True)
class World:
    """This process among those that train together: number `rank` (from 0) of `size`.

    What it does together with the others, all are to call in the same order; alone it does nothing. Raises OtherFailed where
    another process is gone.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that logs and writes."""
        return self.rank == 0

    def share(self, whole: int) -> BatchShare:
        """The clips of a batch of `whole` that are this process's: neighbours, as many as the others have, give or take one.

        Where there are fewer clips than processes some have none; the first process always has one.
        """
        if self.size == 1:
            return BatchShare.alone(whole)
        return BatchShare(self._start(self.rank, whole), self._start(self.rank + 1, whole), whole, partial(self._gather, whole))

    def dealt(self, count: int) -> range:
        """Those of `count` whole batches that are this process's."""
        return range(self.rank, count, self.size)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes of a tensor, the same bits on each."""
        if self.size == 1:
            return values
        values = values.clone()
        together(dist.all_reduce, values)
        return values

    def any(self, condition: bool) -> bool:
        """Whether the condition holds for any process."""
        return bool(self.total(torch.tensor(float(condition))) > 0)

    def wait(self) -> None:
        """Return when every process has come here."""
        self.any(False)

    def from_first(self, value: Any) -> Any:
        """The first process's value, for all: tensors, numbers, text and collections of them."""
        if self.size == 1:
            return value
        buffer = io.BytesIO()
        if self.is_first:
            torch.save(value, buffer)
        length = int(self.total(torch.tensor(len(buffer.getbuffer()))))
        content = (
            torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8) if self.is_first else torch.empty(length, dtype=torch.uint8)
        )
        together(dist.broadcast, content, 0)
        if self.is_first:
            return value
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)

    def sum_gradients(self, parameters: Iterable[nn.Parameter], clips: int) -> None:
        """Sum gradients over the processes, after a batch of `clips` clips.

        Not DistributedDataParallel: that takes means, wants to know beforehand what a loss leaves out, and hangs where a process
        has no clips. A parameter without gradient stays without, lest the optimizer lets it decay.
        """
        if self.size == 1:
            return
        members = [parameter for parameter in parameters if parameter.requires_grad]
        if clips < self.size:  # some have no clips, and so no gradients at all
            has = torch.tensor([parameter.grad is not None for parameter in members])
            together(dist.broadcast, has, 0)
            for parameter, wanted in zip(members, has.tolist(), strict=True):
                if wanted and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        bucket: list[Tensor] = []
        for gradient in (parameter.grad for parameter in members if parameter.grad is not None):
            if bucket and sum(map(Tensor.numel, bucket)) + gradient.numel() > _BUCKET:
                _sum_in_place(bucket)
                bucket = []
            bucket.append(gradient)
        _sum_in_place(bucket)

    def _start(self, rank: int, whole: int) -> int:
        return -(-rank * whole // self.size)

    def _gather(self, whole: int, rows: Tensor) -> Tensor:
        """Put the rows [n, D] of all processes together, [whole, D].

        The others' rows are constants here: each process works out the whole loss and goes back from it to its own rows.
        """
        most = -(-whole // self.size)
        padded = F.pad(rows.detach().float(), (0, 0, 0, most - len(rows)))  # [most, D]
        found = [torch.empty_like(padded) for _ in range(self.size)]
        together(dist.all_gather, found, padded)
        blocks = [
            block[: self._start(rank + 1, whole) - self._start(rank, whole)].to(rows.dtype) for rank, block in enumerate(found)
        ]
        blocks[self.rank] = rows
        return torch.cat(blocks)


def current_world() -> World:
    """The processes that this one has joined, or itself alone."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


def _sum_in_place(gradients: list[Tensor]) -> None:
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    together(dist.all_reduce, flat)
    for gradient, summed in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))
