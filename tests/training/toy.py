"""An objective of one weight, whose result can be worked out by hand."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cavmae.dataset.loader import ClipRecord
from cavmae.features.augment import Draws
from cavmae.features.front_end import RawBatch
from cavmae.training.batches import TrainBatch
from cavmae.training.engine import Engine
from tests.dataset.made import NOWHERE
from tests.training.tiny import params

_NOTHING = torch.zeros(0)


class Toy:
    """The loss is `weight * mean(values of the clips)`: its gradient is the mean."""

    flops_per_clip = 6.0

    def __init__(self, values: Sequence[float]) -> None:
        self.values = list(values)
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.seen: list[list[int]] = []

    def order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(epoch).permutation(len(self.values))

    def reading(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(lambda batch: None)

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        clips = [ClipRecord(str(index), "", "", (), NOWHERE, 0, 0) for index in indices]
        empty = np.zeros(0)
        return TrainBatch(clips, RawBatch(_NOTHING, _NOTHING, _NOTHING), Draws(*[empty] * 7))

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        indices = [int(clip.video_id) for clip in batch.clips]
        self.seen.append(indices)
        mean = torch.tensor([self.values[index] for index in indices]).mean()
        return self.model.weight.sum() * mean, {"value": mean}

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        return {"weight": self.model.weight.item()}


def toy_engine(toy: Toy, folder: Path, **changes: Any) -> Engine:
    """An engine with plain gradient descent at rate 1 and a checkpoint after every step."""
    settings = {"schedule": "constant", "warmup_epochs": 0, "lr": 1.0, "batch_size": 2, "checkpoint_s": 1e-9} | changes
    optimizer = torch.optim.SGD([{"params": [toy.model.weight], "lr_factor": 1.0}], lr=1.0)
    return Engine(toy, optimizer, params("pretrain", **settings), folder / "work", folder / "events")
