"""The training loop: the same for every objective, and continued to the bit where it was killed."""

import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cavmae.dataset.loader import Prefetch
from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.models.batch_share import BatchShare
from cavmae.models.folder import save_weights
from cavmae.progress import Progress
from cavmae.training.batches import TrainBatch
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.curves import CurveRow, TensorBoard
from cavmae.training.distributed import World, current_world
from cavmae.training.objective import Objective
from cavmae.training.optimizer import learning_rate, set_learning_rate
from cavmae.training.params import TrainingParams
from cavmae.training.stopping import StopRequest

log = logging.getLogger(__name__)


@dataclass
class _Position:
    """Where the run stands: finished steps, sums of the running epoch, rows of the finished ones."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rows: list[CurveRow] = field(default_factory=list)


class Engine:
    """Trains `objective` with `optimizer`; checkpoints and the weights of single epochs lie in `work`.

    Where several processes train together (`current_world`), each takes its share of every batch, and only the first writes.
    """

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
        self.work, self.events = work, events
        self.world: World = current_world()
        self.device = torch.device(params.device)
        self._clock = clock
        objective.model.to(self.device)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What the run continues from; only the first process may look at it, which clears it of what was left half-written."""
        return Checkpoints(self.work)

    def epoch_weights(self, epoch: int) -> Path:
        """Where the weights after `epoch` (from 1) lie while the run lasts."""
        return self.work / f"epoch-{epoch:04d}.safetensors"

    def run(self, name: str) -> list[CurveRow]:
        """Train to the end, from the last checkpoint if there is one; return one row of figures for each epoch.

        Raises StepFailed where the loss is no longer finite, and Interrupted after SIGTERM, in both cases with the last
        checkpoint kept. Several processes stop together, when any of them gets SIGTERM or SIGINT.
        """
        position = self._restore()
        clips, first = len(self._order(1)), self.world.is_first
        steps_per_epoch = math.ceil(clips / self.params.batch_size)
        total = steps_per_epoch * self.params.epochs
        if self.params.batch_size < self.world.size:
            log.warning("a batch of %d clips leaves some of %d processes idle", self.params.batch_size, self.world.size)
        saved_at = self._clock()
        with contextlib.ExitStack() as stack:
            request = stack.enter_context(
                StopRequest([signal.SIGTERM] if self.world.size == 1 else [signal.SIGTERM, signal.SIGINT])
            )
            # no bar is drawn where nothing is to be done
            progress = stack.enter_context(Progress(name, total if first else 0, unit="step", start=position.step))
            board = TensorBoard(self.events, position.step // steps_per_epoch + 1) if first else None
            if board is not None:
                stack.callback(board.close)
            while position.step < total:
                epoch, done = position.step // steps_per_epoch + 1, position.step % steps_per_epoch
                started = self._clock()
                for batch in self._batches(epoch, done):
                    self._step(batch, position, steps_per_epoch)
                    progress.advance(note=f"epoch {epoch}")
                    if position.step == epoch * steps_per_epoch:
                        speed = (steps_per_epoch - done) * self.params.batch_size / max(self._clock() - started, 1e-9)
                        self._close_epoch(epoch, position, clips)
                        if board is not None:
                            board.add(epoch, {**position.rows[-1], "speed_clips_per_s": speed})
                    stop = self.world.any(request.asked)
                    if first and (stop or self._clock() - saved_at >= self.params.checkpoint_s):
                        self._save(position)
                        saved_at = self._clock()
                    if stop:
                        if first:
                            self.checkpoints.wait()
                        self.world.wait()  # until it is saved
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
        shares = [self.world.share(len(indices)) for indices in slices]
        own = [indices[share.start : share.stop] for indices, share in zip(slices, shares, strict=True)]
        built = Prefetch(own, lambda indices: self.objective.build(indices, epoch))
        for batch, share in zip(built, shares, strict=True):
            # who cannot read its clips fails before the others wait for it on a GPU, where no signal reaches them
            self.world.wait()
            yield replace(batch, share=share)

    def _step(self, batch: TrainBatch, position: _Position, steps_per_epoch: int) -> None:
        model, share = self.objective.model, batch.share or BatchShare.alone(len(batch.clips))
        model.train()
        rate = learning_rate(self.params, position.step, steps_per_epoch)
        set_learning_rate(self.optimizer, rate)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16"):
            loss, meters = self.objective.loss(batch, self.device)
        named = {"loss": loss.detach(), **meters}
        values = self.world.total(torch.tensor([float(meter) for meter in named.values()], dtype=torch.float64)).tolist()
        if not math.isfinite(values[0]):
            raise StepFailed(
                f"the loss is {values[0]} at step {position.step + 1}; lower lr or set clip_grad_norm, then run again"
            )
        if batch.clips:
            # the last batch of an epoch may be smaller: each clip then weighs as much as in a full one
            torch.autograd.backward(loss * (share.whole / self.params.batch_size))
        self.world.sum_gradients(model.parameters(), share.whole)
        if self.params.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.params.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        position.step += 1
        for key, value in zip(named, values, strict=True):
            position.sums[key] = position.sums.get(key, 0.0) + value * share.whole
        position.sums["lr"] = rate

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
        if self.world.is_first and epoch > self.params.epochs - self.params.keep_epochs:
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
        state: dict[str, Any] | None = self.world.from_first(self.checkpoints.load() if self.world.is_first else None)
        if state is None:
            return _Position()
        self.objective.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        log.info("resumed at step %d", state["step"])
        return _Position(state["step"], state["sums"], state["rows"])


def mean_over(batches: list[tuple[int, dict[str, Tensor]]]) -> dict[str, float]:
    """Mean of named meters over batches of `(clips, meters)`, every clip weighing the same."""
    total = sum(size for size, _ in batches)
    keys = batches[0][1].keys() if batches else ()
    return {key: sum(size * float(meters[key]) for size, meters in batches) / total for key in keys}
