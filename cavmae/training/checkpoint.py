"""Checkpoints in a work folder keyed by inputs, parameters and code: what a killed run continues from."""

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cavmae.errors import InputError, StepFailed
from cavmae.models.safe_load import load_safely
from cavmae.storage import PARTIAL, write_atomic
from cavmae.training.checkpoint_mirror import Hashes, mirror_of
from cavmae.training.finished import mark_finished, unmark

log = logging.getLogger(__name__)
_KEEP = 2
_DAMAGED = "damaged-"
State = dict[str, Any]


class Checkpoints:
    """The last two checkpoints of one training run; a damaged one is passed over for the one before it.

    Each knows its run, the folder's name, and the hashes of the epochs' weights that it needs beside it. Where
    CAVMAE_CHECKPOINTS names a second place, they are copied there, and come from there where this machine has none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.rglob(f"*{PARTIAL}"):
                leftover.unlink()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise InputError(
                f"{error.filename or folder}: training keeps its checkpoints below, and cannot ({error.strerror}); "
                "set CAVMAE_WORK to a folder that can be written"
            ) from None
        self._hashes = Hashes()
        self._mirror = mirror_of(folder, self._hashes)

    def save(self, step: int, state: State) -> None:
        """Write the state after `step` steps, then remove what is older than the last two.

        Raises StepFailed where the disk does not take it; those before are kept.
        """
        path = self._path(step)
        done = len(state.get("rows", ()))  # what lies there of later epochs is another try's, and may be written anew
        epochs = {file.name: self._hashes.of(file) for file in self._epochs() if _epoch(file) <= done}
        try:
            with write_atomic(path) as partial:
                torch.save({**state, "run": self.folder.name, "epochs": epochs}, partial)
        except (OSError, RuntimeError) as error:  # torch's writer raises both
            reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
            kept = [_step(old) for old in self._paths()]
            raise StepFailed(
                f"{path}: the checkpoint cannot be written; is the disk full? ({reason}) Free some space and run the same "
                f"command to continue {f'from step {kept[-1]}, which is kept' if kept else 'from the start'}"
            ) from None
        if self._mirror is not None:
            self._mirror.offer(path)
        for old in (*self._paths()[:-_KEEP], *self.folder.glob(f"{_DAMAGED}*")):
            if self._mirror is None or old != self._mirror.reading:
                old.unlink()

    def forget_epochs_after(self, epoch: int) -> None:
        """Remove weights of later epochs, which the run that continues will write anew, perhaps with other bits."""
        for file in self._epochs():
            if _epoch(file) > epoch:
                file.unlink()

    def wait(self) -> None:
        """Return when the last checkpoint is at the second place too."""
        if self._mirror is not None:
            self._mirror.wait()

    def steps(self) -> set[int]:
        """The steps of which there are checkpoints, here or at the second place, whole or not.

        Raises InputError or StepFailed where the second place cannot be looked at.
        """
        return {*map(_step, self._paths()), *(self._mirror.steps() if self._mirror is not None else ())}

    def load(self, check: Callable[[State], None] | None = None) -> State | None:
        """Return the newest state that can be read and that `check` takes, here or at the second place, or None.

        `check` raises ValueError for a state that does not fit. Raises InputError or StepFailed where the second place cannot be
        looked at.
        """
        there = set(self._mirror.steps()) if self._mirror is not None else set()
        seen = sorted({*map(_step, self._paths()), *there}, reverse=True)
        for step in seen:
            path = self._path(step)
            state = self._read(path, check) if path.is_file() else None
            if state is None and self._mirror is not None and step in there and self._mirror.fetch(step, self.folder):
                state = self._read(path, check)
            if state is not None:
                unmark(self.folder)
                return state
        if self._mirror is not None and set(self._mirror.steps()) - there:
            return self.load(check)  # the run that is replaced was still at work, and has put newer ones in the place of these
        if seen:
            log.warning("no checkpoint in %s can be used: training starts anew, at step 0", self.folder)
        return None

    def finish(self) -> None:
        """The outputs are written: keep the last checkpoint for a while, should whoever started this run lose them."""
        if self._mirror is not None:
            self._mirror.finish()
        for path in self._paths()[:-1]:
            path.unlink()
        mark_finished(self.folder)

    def remove(self) -> None:
        """Remove the folder, and what is at the second place."""
        if self._mirror is not None:
            self._mirror.remove()
        # first what a run continues from: if this is killed half-way, the next run may not continue without its epochs
        for path in reversed(self._paths()):
            path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path, check: Callable[[State], None] | None) -> State | None:
        """The state in a file; one that cannot be used is put aside until there is another."""
        try:
            try:
                state = load_safely(path)
            except ValueError as error:
                log.debug("%s: %s", path, error)
                raise ValueError("it is damaged, or this run did not write it") from None
            if not isinstance(state, dict) or state.get("run") != self.folder.name:
                raise ValueError("it is no checkpoint of this run")
            for name, sha256 in state["epochs"].items():
                if not (self.folder / name).is_file() or self._hashes.of(self.folder / name) != sha256:
                    raise ValueError(f"{name}, which belongs to it, is damaged or missing")
            if check is not None:
                check(state)
        except (ValueError, OSError) as error:
            log.warning("checkpoint %s cannot be used (%s); falling back to the one before it", path, error)
            path.replace(path.with_name(f"{_DAMAGED}{path.name}"))
            return None
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.pt"

    def _paths(self) -> list[Path]:
        found = (path for path in self.folder.glob("step-*.pt") if path.stem.removeprefix("step-").isdecimal())
        return sorted(path for path in found if path.is_file())

    def _epochs(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.safetensors"))


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("epoch-"))


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
