"""Checkpoints in a work folder keyed by inputs, parameters and code: what a killed run continues from."""

import logging
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from cavmae.errors import StepFailed
from cavmae.models.safe_load import load_safely
from cavmae.storage import PARTIAL, write_atomic
from cavmae.training.checkpoint_mirror import mirror_of

log = logging.getLogger(__name__)
_KEEP = 2


class Checkpoints:
    """The last two checkpoints of one training run; a damaged one is passed over for the one before it.

    Where CAVMAE_CHECKPOINTS names a second place, they are copied there, and come from there where this machine has none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.rglob(f"*{PARTIAL}"):
            leftover.unlink()
        self._mirror = mirror_of(folder)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps, then remove what is older than the last two.

        Raises StepFailed where the disk does not take it; those before are kept.
        """
        path = self._path(step)
        with write_atomic(path) as partial:
            try:
                torch.save(state, partial)
            except RuntimeError as error:  # torch's writer has no OSError
                reason = str(error).splitlines()[0]
                raise StepFailed(f"{path}: the checkpoint cannot be written; is the disk full? ({reason})") from None
        if self._mirror is not None:
            self._mirror.offer(path)
        for old in self._paths()[:-_KEEP]:
            if self._mirror is None or old != self._mirror.reading:
                old.unlink()

    def wait(self) -> None:
        """Return when the last checkpoint is at the second place too."""
        if self._mirror is not None:
            self._mirror.wait()

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that can be read, here or at the second place, or None.

        Raises InputError or StepFailed where the second place cannot be looked at.
        """
        there = set(self._mirror.steps()) if self._mirror is not None else set()
        for step in sorted({*map(_step, self._paths()), *there}, reverse=True):
            path = self._path(step)
            state = self._read(path) if path.is_file() else None
            if state is None and self._mirror is not None and step in there and self._mirror.fetch(step, self.folder):
                state = self._read(path)
            if state is not None:
                return state
        if self._mirror is not None and set(self._mirror.steps()) - there:
            return self.load()  # the run that is replaced was still at work, and has put newer ones in the place of these
        return None

    def remove(self) -> None:
        """Remove the folder, and what is at the second place: the run is finished and its outputs are written."""
        if self._mirror is not None:
            self._mirror.remove()
        # first what a run continues from: if this is killed half-way, the next run may not continue without its epochs
        for path in reversed(self._paths()):
            path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> dict[str, Any] | None:
        """The state in a file; one that cannot be read is removed."""
        try:
            _check_sums(path)
            state: dict[str, Any] = load_safely(path)
        except (ValueError, OSError) as error:
            log.warning("checkpoint %s cannot be read (%s); falling back to the one before it", path, error)
            path.unlink()
            return None
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.pt"

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*.pt") if path.stem.removeprefix("step-").isdecimal())


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _check_sums(path: Path) -> None:
    """Raise ValueError where a checksum within the file is wrong: torch's reader does not look at them."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError(str(error)) from None
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
