"""The training loop: the same for every objective, and continued to the bit where it was killed."""

import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from cavmae.dataset.loader import Prefetch
from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.models.folder import save_weights
from cavmae.progress import Progress
from cavmae.training.batches import TrainBatch
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.curves import CurveRow, TensorBoard
from cavmae.training.objective import Objective
from cavmae.training.optimizer import learning_rate, set_learning_rate
from cavmae.training.params import TrainingParams

log = logging.getLogger(__name__)


@dataclass
class _Position:
    """Where the run stands: finished steps, sums of the running epoch, rows of the finished ones."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rows: list[CurveRow] = field(default_factory=list)


class Engine:
    """Trains `objective` with `optimizer`; checkpoints and the weights of single epochs lie in `work`."""

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        params: TrainingParams,
        work: Path,
        events: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objective, self.optimizer, self.params = objective, optimizer, params
        self.checkpoints = Checkpoints(work)
        self.events = events
        self.device = torch.device(params.device)
        self._clock = clock
        self._stop_asked = False
        objective.model.to(self.device)

    def epoch_weights(self, epoch: int) -> Path:
        """Where the weights after `epoch` (from 1) lie while the run lasts."""
        return self.checkpoints.folder / f"epoch-{epoch:04d}.safetensors"

    def run(self, name: str) -> list[CurveRow]:
        """Train to the end, from the last checkpoint if there is one; return one row of figures for each epoch.

        Raises StepFailed where the loss is no longer finite, and Interrupted after SIGTERM, in both cases with the last
        checkpoint kept.
        """
        position = self._restore()
        clips = len(self._order(1))
        steps_per_epoch = math.ceil(clips / self.params.batch_size)
        total = steps_per_epoch * self.params.epochs
        board = TensorBoard(self.events, position.step // steps_per_epoch + 1)
        saved_at = self._clock()
        progress = Progress(name, total, unit="step", start=position.step)
        with self._listening(), progress, contextlib.closing(board):
            while position.step < total:
                epoch, done = position.step // steps_per_epoch + 1, position.step % steps_per_epoch
                started = self._clock()
                for batch in self._batches(epoch, done):
                    self._step(batch, position, steps_per_epoch)
                    progress.advance(note=f"epoch {epoch}")
                    if position.step == epoch * steps_per_epoch:
                        speed = (steps_per_epoch - done) * self.params.batch_size / max(self._clock() - started, 1e-9)
                        self._close_epoch(epoch, position, clips)
                        board.add(epoch, {**position.rows[-1], "speed_clips_per_s": speed})
                    if self._stop_asked or self._clock() - saved_at >= self.params.checkpoint_s:
                        self._save(position)
                        saved_at = self._clock()
                    if self._stop_asked:
                        raise Interrupted(f"stopped at step {position.step} of {total}; run the same command to continue")
        return position.rows

    def _order(self, epoch: int) -> list[int]:
        order: list[int] = self.objective.order(epoch).tolist()
        if not self.params.drop_last:
            return order
        whole = order[: len(order) // self.params.batch_size * self.params.batch_size]
        if not whole:
            raise InputError(
                f"the train split's {len(order)} clips do not fill a batch of {self.params.batch_size}; "
                "set a smaller batch_size, or drop_last=false"
            )
        return whole

    def _batches(self, epoch: int, skip: int) -> Iterator[TrainBatch]:
        order, size = self._order(epoch), self.params.batch_size
        slices = [order[at : at + size] for at in range(0, len(order), size)][skip:]
        yield from Prefetch(slices, lambda indices: self.objective.build(indices, epoch))

    def _step(self, batch: TrainBatch, position: _Position, steps_per_epoch: int) -> None:
        model, size = self.objective.model, len(batch.clips)
        model.train()
        rate = learning_rate(self.params, position.step, steps_per_epoch)
        set_learning_rate(self.optimizer, rate)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16"):
            loss, meters = self.objective.loss(batch, self.device)
        value = loss.item()
        if not math.isfinite(value):
            raise StepFailed(f"the loss is {value} at step {position.step + 1}; lower lr or set clip_grad_norm, then run again")
        # the last batch of an epoch may be smaller: each clip then weighs as much as in a full one
        torch.autograd.backward(loss * (size / self.params.batch_size))
        if self.params.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.params.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        position.step += 1
        sums = position.sums
        for key, meter in {"loss": torch.tensor(value), **meters}.items():
            sums[key] = sums.get(key, 0.0) + float(meter) * size
        sums["lr"] = rate

    def _require_finite(self, step: int) -> None:
        """Raise StepFailed before weights that are no numbers any more are kept, as a checkpoint or as a result."""
        for name, parameter in self.objective.model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise StepFailed(f"{name} is no longer finite after step {step}; lower lr or set clip_grad_norm, then run again")

    def _close_epoch(self, epoch: int, position: _Position, clips: int) -> None:
        self._require_finite(position.step)
        row: CurveRow = {"epoch": epoch, "lr": position.sums.pop("lr")}
        row |= {f"train_{key}": value / clips for key, value in position.sums.items()}
        model = self.objective.model.eval()
        with torch.no_grad():
            row |= {f"val_{key}": value for key, value in self.objective.validate(self.device, epoch).items()}
        position.rows.append(row)
        position.sums = {}
        if epoch > self.params.epochs - self.params.keep_epochs:
            save_weights(self.epoch_weights(epoch), model.state_dict())
        figures = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
        log.log(logging.INFO if epoch % max(1, self.params.epochs // 10) == 0 else logging.DEBUG, "epoch %d: %s", epoch, figures)

    def _save(self, position: _Position) -> None:
        self._require_finite(position.step)
        self.checkpoints.save(
            position.step,
            {
                "model": self.objective.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": position.step,
                "sums": position.sums,
                "rows": position.rows,
            },
        )

    def _restore(self) -> _Position:
        state: dict[str, Any] | None = self.checkpoints.load()
        if state is None:
            return _Position()
        self.objective.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        log.info("resumed at step %d", state["step"])
        return _Position(state["step"], state["sums"], state["rows"])

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Let SIGTERM ask for a checkpoint and an end; signals can only be heard in the main thread."""

        def ask(number: int, frame: FrameType | None) -> None:
            self._stop_asked = True

        try:
            before = signal.signal(signal.SIGTERM, ask)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def mean_over(batches: list[tuple[int, dict[str, Tensor]]]) -> dict[str, float]:
    """Mean of named meters over batches of `(clips, meters)`, every clip weighing the same."""
    total = sum(size for size, _ in batches)
    keys = batches[0][1].keys() if batches else ()
    return {key: sum(size * float(meters[key]) for size, meters in batches) / total for key in keys}
