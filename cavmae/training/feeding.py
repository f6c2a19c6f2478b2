"""Which clips a process has of each batch of an epoch, and their batches in order, built by threads before they are asked for."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

import torch

from cavmae.dataset.loader import Prefetch
from cavmae.errors import InputError
from cavmae.models.batch_share import BatchShare
from cavmae.training.batches import TrainBatch
from cavmae.training.distributed import World
from cavmae.training.objective import Objective
from cavmae.training.params import TrainingParams


def trained_order(objective: Objective, params: TrainingParams, epoch: int) -> list[int]:
    """Clip indexes of an epoch in order, without those of a smaller last batch where that is dropped.

    Raises InputError where nothing is left.
    """
    order: list[int] = objective.order(epoch).tolist()
    if not params.drop_last:
        return order
    whole = order[: len(order) // params.batch_size * params.batch_size]
    if not whole:
        raise InputError(
            f"the train split's {len(order)} clips do not fill a batch of {params.batch_size}; "
            "set a smaller batch_size, or drop_last=false"
        )
    return whole


def shares(order: Sequence[int], batch_size: int, world: World, skip: int = 0) -> list[tuple[list[int], BatchShare]]:
    """Clip indexes of this process, and which part of the whole they are, for each batch of an epoch after the first `skip`."""
    found = []
    for at in range(skip * batch_size, len(order), batch_size):
        batch = list(order[at : at + batch_size])
        share = world.share(len(batch))
        found.append((batch[share.start : share.stop], share))
    return found


def feed(objective: Objective, params: TrainingParams, world: World, epoch: int, skip: int) -> Generator[TrainBatch, None, None]:
    """Yield this process's part of every batch of an epoch (from 1) after the first `skip`, of which nothing is read.

    For a GPU the next batches are copied there while it computes. Raises what building a batch raises, when its turn comes. Close
    the iterator to end its threads.
    """
    stream: torch.cuda.Stream | None = torch.cuda.Stream() if params.device == "cuda" else None  # type: ignore[no-untyped-call]

    def build(indices: Sequence[int]) -> TrainBatch:
        batch = objective.build(indices, epoch)
        return batch.sent(stream) if batch.clips and stream is not None else batch

    own = shares(trained_order(objective, params, epoch), params.batch_size, world, skip)
    wanted = [indices for indices, _ in own]
    with objective.reading(wanted) as done, closing(iter(Prefetch(wanted, build, readers=params.readers))) as built:
        for number, (batch, (_, share)) in enumerate(zip(built, own, strict=True)):
            # who cannot read its clips fails before the others wait for it on a GPU, where no signal reaches them
            world.wait()
            yield replace(batch.arrived(), share=share)
            done(number)
