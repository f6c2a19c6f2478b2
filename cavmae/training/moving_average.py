"""A moving average of the weights beside those that are trained (Polyak & Juditsky 1992)."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class MovingAverage:
    """The mean of a model's trained weights over its steps, older steps counting less and less: `decay` a step.

    In the first steps the decay is lower, min(decay, (1 + n) / (10 + n)) after n of them: else the first weights, which are
    random, would count for long.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._mean = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights in that are there after `step` steps, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._mean.values()), [weight.detach() for weight in self._weights.values()], 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the mean weights meanwhile."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Give the model the mean weights, and keep its own in their place; once more gives them back."""
        for name, weight in self._weights.items():
            weight.data, self._mean[name] = self._mean[name], weight.data

    def state_dict(self) -> dict[str, Tensor]:
        """The mean weights by their names."""
        return self._mean

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue with the mean weights of a checkpoint."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])
