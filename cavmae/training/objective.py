"""What an objective tells the engine: which clips come when, what a batch is, what the loss is, how good the model is."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
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

    @property
    def flops_per_clip(self) -> float:
        """Floating-point operations that the architecture asks for to learn from one clip, forward and backward."""
        ...

    def order(self, epoch: int) -> np.ndarray:
        """Clip indexes of an epoch, in order."""
        ...

    def reading(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[Callable[[int], None]]:
        """While the context lasts, fetch ahead what `build` will read for these batches of clip indexes, in their order.

        Yields what is told the number of each batch that is done with. The context ends the threads that it began.
        """
        ...

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Build a batch; called from several threads. There may be no clips, where several processes share a small batch."""
        ...

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss over the batch and named meters, each a mean over its clips.

        Of a shared batch (`batch.share`) each is this process's part: the meters of all processes sum up to the means over the
        batch, as do the gradients of the losses to its gradients. So does the value of the loss, unless a meter named `loss`
        does instead. All processes call this for each of their batches, also for one without clips.
        """
        ...

    def accumulate(
        self,
        batch: TrainBatch,
        device: torch.device,
        size: int,
        precision: Callable[[], AbstractContextManager[None]],
        backward: Callable[[Tensor], None],
    ) -> dict[str, Tensor]:
        """Do what `loss` and the backward pass from it do, with at most `size` clips in the model at a time.

        Forward passes run within `precision`; `backward` is called on losses whose gradients sum up to that of the batch's loss,
        for no clips not at all. Return the meters, `loss` among them.
        """
        ...

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        """Return named figures on the validation split after `epoch` (from 1); empty where there is none.

        All processes call it, and all return the figures over the whole split.
        """
        ...
