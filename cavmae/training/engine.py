"""The training loop: the same for every objective, and continued to the bit where it was killed."""

import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cavmae.errors import Interrupted, StepFailed
from cavmae.models.folder import save_weights
from cavmae.progress import Progress
from cavmae.training.batches import TrainBatch
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.collectives import OtherFailed
from cavmae.training.curves import CurveRow, TensorBoard
from cavmae.training.distributed import World, current_world
from cavmae.training.feeding import feed, trained_order
from cavmae.training.meters import Meters, in_words
from cavmae.training.objective import Objective
from cavmae.training.optimizer import learning_rate
from cavmae.training.params import TrainingParams
from cavmae.training.saving import Saver
from cavmae.training.state import check_fits, infinite, run_state
from cavmae.training.stepping import Stepper
from cavmae.training.stopping import StopAsked, StoppedTogether, StopRequest

log = logging.getLogger(__name__)


@dataclass
class _Position:
    """Where the run stands: finished steps, sums of the running epoch, rows of the finished ones."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rows: list[CurveRow] = field(default_factory=list)

    @property
    def mark(self) -> tuple[int, int]:
        """Two positions of a run with the same mark are the same."""
        return self.step, len(self.rows)


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
        self._request = StopRequest([signal.SIGTERM, signal.SIGINT])
        objective.model.to(self.device)
        self.stepper = Stepper(objective, optimizer, params, self.world)
        self.meters = Meters(params, self.world, objective.flops_per_clip, clock)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What the run continues from; only the first process may look at it, which clears it of what was left half-written."""
        return Checkpoints(self.work)

    def epoch_weights(self, epoch: int) -> Path:
        """Where the weights after `epoch` (from 1) lie while the run lasts."""
        return self.work / f"epoch-{epoch:04d}.safetensors"

    def run(self, name: str) -> list[CurveRow]:
        """Train to the end, from the last checkpoint if there is one; return one row of figures for each epoch.

        Raises StepFailed where the loss is no longer finite, with the last checkpoint kept, and Interrupted after SIGTERM or
        SIGINT, with a new one. Several processes stop together, when any of them gets one of the signals. The state after the
        last step is saved, without the optimizer's.
        """
        position = self._restore()
        clips, world = len(trained_order(self.objective, self.params, 1)), self.world
        steps_per_epoch = math.ceil(clips / self.params.batch_size)
        total = steps_per_epoch * self.params.epochs
        if self.params.batch_size < world.size:
            log.warning("a batch of %d clips leaves some of %d processes idle", self.params.batch_size, world.size)
        saver = None
        if world.is_first:
            background = self.device.type != "cpu"
            saver = Saver(self.checkpoints, self.params.checkpoint_s, self._clock, background, saved=position.mark)
        with contextlib.ExitStack() as stack:
            if saver is not None:
                stack.callback(saver.end)
            # no bar is drawn where nothing is to be done
            progress = stack.enter_context(Progress(name, total if world.is_first else 0, unit="step", start=position.step))
            board = TensorBoard(self.events, len(position.rows) + 1) if world.is_first else None
            if board is not None:
                stack.callback(board.close)
                self.meters.board = TensorBoard(self.events / "steps", position.step + 1)
                stack.callback(self.meters.board.close)
            request = stack.enter_context(self._request)
            try:
                # of several processes none may leave the others in the middle of what they do together
                with request.heard() if world.size == 1 else contextlib.nullcontext():
                    self._train(position, clips, saver, progress, board)
            except (StopAsked, OtherFailed) as error:
                if isinstance(error, OtherFailed) and request.asked is None:
                    raise
                if saver is not None:
                    self._save(saver, position, last=True)
                    self.checkpoints.wait()
                if isinstance(error, StoppedTogether):
                    world.wait()  # until it is saved
                message = f"stopped at step {position.step} of {total}; run the same command to continue"
                by_hand = world.size == 1 and request.asked is signal.SIGINT
                raise Interrupted(message, 130 if by_hand else 75) from None
        return position.rows

    def _train(self, position: _Position, clips: int, saver: Saver | None, progress: Progress, board: TensorBoard | None) -> None:
        """Train from a position to the end; it is right at every moment, but for those in which the request is held."""
        steps_per_epoch = math.ceil(clips / self.params.batch_size)
        while len(position.rows) < self.params.epochs:
            epoch = len(position.rows) + 1
            done = position.step - (epoch - 1) * steps_per_epoch
            with contextlib.closing(feed(self.objective, self.params, self.world, epoch, done)) as batches:
                for batch in self.meters.waiting_for(batches):
                    self._step(batch, position, steps_per_epoch)
                    progress.advance(note=f"epoch {epoch}")
                    self._between_steps(saver, position)
            # of an epoch that was trained before there is no speed
            speed = self.meters.epoch() if done < steps_per_epoch else {}
            self._close_epoch(epoch, position, clips)
            if board is not None:
                with self._request.held():
                    board.add(epoch, {**position.rows[-1], **{f"speed_{key}": value for key, value in speed.items()}})
                    if speed:
                        log.log(_level(epoch, self.params.epochs), "epoch %d: %s", epoch, in_words(speed))
            self._between_steps(saver, position)
        if saver is not None:
            with self._request.held():
                self._save(saver, position, last=True)

    def _between_steps(self, saver: Saver | None, position: _Position) -> None:
        """Save the state when it is time to; raises StopAsked in all processes where one of them is asked to stop."""
        if self.world.size > 1 and self.world.any(self._request.asked is not None):
            raise StoppedTogether
        if saver is not None and saver.due():
            with self._request.held():
                self._save(saver, position)

    def _step(self, batch: TrainBatch, position: _Position, steps_per_epoch: int) -> None:
        rate = learning_rate(self.params, position.step, steps_per_epoch)
        number = position.step + 1
        taken = self.stepper.gradients(batch, number, with_norm=self.world.is_first and self.meters.wanted(number))
        with self._request.held():
            self.stepper.apply(taken, rate, position.sums)
            position.step = number
            position.sums["lr"] = rate
            self.meters.step(number, taken.clips, rate, taken.norm)

    def _require_finite(self, step: int) -> None:
        """Raise StepFailed before what is no number any more is kept, as a checkpoint or as a result."""
        if (name := infinite(self.objective.model, self.optimizer)) is not None:
            raise StepFailed(f"{name} is no longer finite after step {step}; lower lr or set clip_grad_norm, then run again")

    def _close_epoch(self, epoch: int, position: _Position, clips: int) -> None:
        with self._request.held():
            self.stepper.settle(position.sums)
        self._require_finite(position.step)
        sums = dict(position.sums)
        row: CurveRow = {"epoch": epoch, "lr": sums.pop("lr")}
        row |= {f"train_{key}": value / clips for key, value in sums.items()}
        model = self.objective.model.eval()
        with self._request.held(), self.stepper.averaged():
            with torch.no_grad(), self._request.heard():
                row |= {f"val_{key}": value for key, value in self.objective.validate(self.device, epoch).items()}
            if self.world.is_first and epoch > self.params.epochs - self.params.keep_epochs:
                save_weights(self.epoch_weights(epoch), model.state_dict())
            position.rows.append(row)
            position.sums = {}
        figures = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
        log.log(_level(epoch, self.params.epochs), "epoch %d: %s", epoch, figures)

    def _save(self, saver: Saver, position: _Position, last: bool = False) -> None:
        self.stepper.settle(position.sums)
        self._require_finite(position.step)
        state = run_state(self.objective.model, self.optimizer, position.step, position.sums, position.rows)
        if len(position.rows) == self.params.epochs:
            state["optimizer"] = None  # nothing will be trained any more
        saver.save(position.step, position.mark, state | self.stepper.state_dict(), last)

    def _restore(self) -> _Position:
        def check(state: dict[str, Any]) -> None:
            check_fits(state, self.objective.model, self.optimizer, self.stepper.state_dict())

        state: dict[str, Any] | None = self.world.from_first(self.checkpoints.load(check) if self.world.is_first else None)
        if state is None:
            return _Position()
        self.objective.model.load_state_dict(state["model"])
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.load_state_dict(state)
        if self.world.is_first:
            self.checkpoints.forget_epochs_after(len(state["rows"]))
        log.info("resumed at step %d", state["step"])
        return _Position(state["step"], state["sums"], state["rows"])


def _level(epoch: int, epochs: int) -> int:
    """About ten epochs are told of, the others to those who want to know."""
    return logging.INFO if epoch % max(1, epochs // 10) == 0 else logging.DEBUG


def mean_over(batches: list[tuple[int, dict[str, Tensor]]]) -> dict[str, float]:
    """Mean of named meters over batches of `(clips, meters)`, every clip weighing the same."""
    total = sum(size for size, _ in batches)
    keys = batches[0][1].keys() if batches else ()
    return {key: sum(size * float(meters[key]) for size, meters in batches) / total for key in keys}
