"""One step of training: loss and gradients of a batch, over all processes and in pieces where asked, then new weights."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cavmae.errors import StepFailed
from cavmae.models.batch_share import BatchShare
from cavmae.training.acceleration import accelerate
from cavmae.training.batches import TrainBatch
from cavmae.training.distributed import World
from cavmae.training.moving_average import MovingAverage
from cavmae.training.objective import Objective
from cavmae.training.optimizer import set_learning_rate
from cavmae.training.params import TrainingParams
from cavmae.training.readings import Readings


@dataclass(frozen=True)
class Taken:
    """A step whose gradients are there: its number from 1, the clips of its whole batch, what was measured, and the values.

    `norm` is that of the gradients before clipping, where it is known.
    """

    step: int
    clips: int
    names: list[str]
    values: Tensor  # [len(names)], float64
    norm: Tensor | None


class Stepper:
    """Takes steps: first `gradients`, which can be given up at any point, then `apply`, which is done whole or not at all."""

    def __init__(self, objective: Objective, optimizer: torch.optim.Optimizer, params: TrainingParams, world: World) -> None:
        self.objective, self.optimizer, self.params, self.world = objective, optimizer, params, world
        self.device = torch.device(params.device)
        accelerate(objective.model, params)
        self._average = MovingAverage(objective.model, params.ema_decay) if params.ema_decay is not None else None
        self._readings: Readings[Taken] = Readings(self.device)

    def gradients(self, batch: TrainBatch, step: int, with_norm: bool = False) -> Taken:
        """Work out losses and gradients of step number `step`, from 1, over all processes; measure the norm where asked."""
        model, share = self.objective.model.train(), batch.share or BatchShare.alone(len(batch.clips))
        # the last batch of an epoch may be smaller: each clip then weighs as much as in a full one
        backward = partial(_backward, share.whole / self.params.batch_size)
        if self.params.micro_batch is None:
            with self._precision():
                loss, meters = self.objective.loss(batch, self.device)
            meters = {"loss": loss, **meters}
            if batch.clips:
                backward(loss)
        else:
            meters = self.objective.accumulate(batch, self.device, self.params.micro_batch, self._precision, backward)
        values = torch.stack([meter.detach().to(self.device, torch.float64) for meter in meters.values()])
        values = self.world.total(values)
        self.world.sum_gradients(model.parameters(), share.whole)
        return Taken(step, share.whole, list(meters), values, self._norm(with_norm))

    def apply(self, taken: Taken, rate: float, sums: dict[str, float]) -> None:
        """Change the weights at a learning rate; add what was measured, each times the clips of the batch, to `sums`.

        Raises StepFailed where the loss is no longer finite: on a CPU before the weights change, on a GPU some steps later,
        which is before they are saved, see `settle`.
        """
        for earlier, values in self._readings.put(taken, taken.values):
            _add(earlier, values, sums)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(taken.step)

    def settle(self, sums: dict[str, float]) -> None:
        """Read what is not yet read of the steps taken, before sums or weights are kept; raises StepFailed as `apply` does."""
        for taken, values in self._readings.due(everything=True):
            _add(taken, values, sums)

    def averaged(self) -> AbstractContextManager[None]:
        """Let the model have the weights that are validated and kept: their moving average, where there is one."""
        return self._average.in_place() if self._average is not None else nullcontext()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds beside weights and optimizer."""
        return {} if self._average is None else {"average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _precision(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16")

    def _norm(self, wanted: bool) -> Tensor | None:
        if self.params.clip_grad_norm is not None:
            return torch.nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.params.clip_grad_norm)
        if not wanted:
            return None
        gradients = [parameter.grad for parameter in self.objective.model.parameters() if parameter.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)


def _backward(scale: float, loss: Tensor) -> None:
    torch.autograd.backward(loss * scale)


def _add(taken: Taken, values: list[float], sums: dict[str, float]) -> None:
    named = dict(zip(taken.names, values, strict=True))
    if not math.isfinite(named["loss"]):
        raise StepFailed(f"the loss is {named['loss']} at step {taken.step}; lower lr or set clip_grad_norm, then run again")
    for key, value in named.items():
        sums[key] = sums.get(key, 0.0) + value * taken.clips
