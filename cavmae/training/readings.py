"""Numbers that a step leaves on the device, read where that holds nothing up."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Readings(Generic[T]):
    """Hands back what was put in, in order, with the numbers on the host.

    On a CPU at once. A GPU is some steps behind the program: its numbers come `lag` puts later, by a copy that nobody waits for,
    so that the GPU always has work before it.
    """

    def __init__(self, device: torch.device, lag: int = 2) -> None:
        self._on_gpu = device.type == "cuda"
        self._lag = lag if self._on_gpu else 0
        self._waiting: deque[tuple[T, Tensor, torch.cuda.Event | None]] = deque()

    def put(self, what: T, numbers: Tensor) -> Iterator[tuple[T, list[float]]]:
        """Put in numbers [N] that belong to `what`; return those whose time has come."""
        if not self._on_gpu:
            self._waiting.append((what, numbers, None))
            return self.due()
        host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        host.copy_(numbers, non_blocking=True)
        event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._waiting.append((what, host, event))
        return self.due()

    def due(self, everything: bool = False) -> Iterator[tuple[T, list[float]]]:
        """Those whose time has come, or all."""
        while len(self._waiting) > (0 if everything else self._lag):
            what, numbers, event = self._waiting.popleft()
            if event is not None:
                event.synchronize()
            yield what, numbers.tolist()
