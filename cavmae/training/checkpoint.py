"""Checkpoints in a work folder keyed by inputs, parameters and code: what a killed run continues from."""

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

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
        """Write the state after `step` steps, then remove what is older than the last two."""
        with write_atomic(self.folder / f"step-{step:09d}.pt") as partial:
            torch.save(state, partial)
        for old in self._paths()[:-_KEEP]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that can be read, or None."""
        for path in reversed(self._paths()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
                log.warning("checkpoint %s cannot be read (%s); falling back to the one before it", path, type(error).__name__)
                path.unlink()
                continue
            return state
        return None

    def remove(self) -> None:
        """Remove the folder: the run is finished and its outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"))
