"""How fast training goes and what it needs: figures that differ from run to run, and so stand beside the curves, not in them."""

import resource
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from cavmae.training.curves import TensorBoard
from cavmae.training.distributed import World
from cavmae.training.params import TrainingParams
from cavmae.training.peak import peak_flops
from cavmae.training.readings import Readings

EVERY = 10  # steps from one row of figures to the next
T = TypeVar("T")


class Meters:
    """Counts clips, and the time that went on waiting for them and on computing, over some steps and over an epoch.

    `flops_per_clip` is what one clip costs forward and backward, by the architecture; MFU is its share of what the devices
    can do, measured as `peak_flops` says when it is first asked for. Recomputed activations do not count.
    """

    def __init__(
        self, params: TrainingParams, world: World, flops_per_clip: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._params, self._world, self._flops = params, world, flops_per_clip
        self._device = torch.device(params.device)
        self._clock = clock
        self.board: TensorBoard | None = None  # where rows of figures go, if anywhere
        self._peak: float | None = None
        self._steps, self._epoch = _Span(clock()), _Span(clock())
        self._norms: Readings[tuple[int, dict[str, float]]] = Readings(self._device)

    def waiting_for(self, items: Iterator[T]) -> Iterator[T]:
        """The items, with the time counted that they let wait."""
        self._steps, self._epoch = _Span(self._clock()), _Span(self._clock())
        while True:
            asked = self._clock()
            try:
                item = next(items)
            except StopIteration:
                return
            for span in (self._steps, self._epoch):
                span.waited += self._clock() - asked
            yield item

    def wanted(self, step: int) -> bool:
        """Whether a row of figures is due after step `step`, from 1; the gradients' norm is worked out for that alone."""
        return step % EVERY == 0

    def step(self, step: int, clips: int, rate: float, norm: torch.Tensor | None) -> None:
        """Count a step of `clips` clips, in all processes; write a row of figures where one is due."""
        for span in (self._steps, self._epoch):
            span.clips += clips
            span.steps += 1
        if self.board is None or norm is None or not self.wanted(step):
            return
        row = {"lr": rate, **self._figures(self._steps)}
        self._steps = _Span(self._clock())
        self._write(self.board, self._norms.put((step, row), norm.detach().reshape(1)))

    def epoch(self) -> dict[str, float]:
        """Figures of the epoch that ends, as far as this process went through it."""
        if self.board is not None:
            self._write(self.board, self._norms.due(everything=True))
        return self._figures(self._epoch)

    def _write(self, board: TensorBoard, rows: Iterator[tuple[tuple[int, dict[str, float]], list[float]]]) -> None:
        for (at, figures), (value,) in rows:
            board.add(at, {f"step_{key}": figure for key, figure in (figures | {"gradient_norm": value}).items()})

    def _figures(self, span: "_Span") -> dict[str, float]:
        if self._peak is None:
            self._peak = peak_flops(self._device, self._params.precision)
        seconds = max(self._clock() - span.began, 1e-9)
        speed = span.clips / seconds
        return {
            "clips_per_s": speed,
            "data_s": span.waited / max(span.steps, 1),
            "compute_s": (seconds - span.waited) / max(span.steps, 1),
            "mfu": speed * self._flops / (self._peak * self._world.size),
            "memory_gb": peak_memory(self._device) / 1e9,
        }


class _Span:
    """Counts since a moment."""

    def __init__(self, began: float) -> None:
        self.began, self.waited = began, 0.0
        self.clips = self.steps = 0


def peak_memory(device: torch.device) -> float:
    """The most bytes that were in use at a time: of the GPU by tensors, else of the machine by this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def in_words(figures: dict[str, float]) -> str:
    """The figures of an epoch for a line of the log."""
    waited = figures["data_s"] / max(figures["data_s"] + figures["compute_s"], 1e-9)
    return (
        f"{figures['clips_per_s']:.3g} clips/s, {waited:.0%} of the time waiting for data, "
        f"MFU {figures['mfu']:.1%}, {figures['memory_gb']:.1f} GB at most"
    )
