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

log = logging.getLogger(__name__)
_KEEP = 2


class Checkpoints:
    """The last two checkpoints of one training run; a damaged one is passed over for the one before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.rglob(f"*{PARTIAL}"):
            leftover.unlink()

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps, then remove what is older than the last two.

        Raises StepFailed where the disk does not take it; those before are kept.
        """
        path = self.folder / f"step-{step:09d}.pt"
        with write_atomic(path) as partial:
            try:
                torch.save(state, partial)
            except RuntimeError as error:  # torch's writer has no OSError
                reason = str(error).splitlines()[0]
                raise StepFailed(f"{path}: the checkpoint cannot be written; is the disk full? ({reason})") from None
        for old in self._paths()[:-_KEEP]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that can be read, or None."""
        for path in reversed(self._paths()):
            try:
                _check_sums(path)
                state: dict[str, Any] = load_safely(path)
            except (ValueError, OSError) as error:
                log.warning("checkpoint %s cannot be read (%s); falling back to the one before it", path, error)
                path.unlink()
                continue
            return state
        return None

    def remove(self) -> None:
        """Remove the folder: the run is finished and its outputs are written."""
        # first what a run continues from: if this is killed half-way, the next run may not continue without its epochs
        for path in reversed(self._paths()):
            path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"))


def _check_sums(path: Path) -> None:
    """Raise ValueError where a checksum within the file is wrong: torch's reader does not look at them."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError(str(error)) from None
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
