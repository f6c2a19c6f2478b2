"""What an objective tells the engine: which clips come when, what a batch is, what the loss is, how good the model is."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cavmae.training.batches import TrainBatch


class Objective(Protocol):
    """One kind of training over one data set."""

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        ...

    def order(self, epoch: int) -> np.ndarray:
        """Clip indexes of an epoch, in order."""
        ...

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Build a batch on the host; called from a thread."""
        ...

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss over the batch and named meters, each a mean over its clips."""
        ...

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        """Return named figures on the validation split after `epoch` (from 1); empty where there is none."""
        ...
