"""What a finished run leaves, for a day: its last state, from which the same command writes the outputs again.

Whoever started the command may die before it has taken note of the outputs: DVC between the end of a stage and its dvc.lock, a
pod before its outputs are uploaded. It would start the same training again, and the training would otherwise be lost.
"""

import logging
import os
import shutil
import time
from pathlib import Path

from cavmae.errors import InputError, StepFailed
from cavmae.storage import flush_folder, work_folder
from cavmae.stores import open_store
from cavmae.training.checkpoint_mirror import FINISHED, VARIABLE, Mirror

log = logging.getLogger(__name__)
KEPT_S = 24 * 3600.0
_MARK = "finished"


def mark_finished(folder: Path) -> None:
    """Note that the run of a work folder is finished, and when."""
    (folder / _MARK).touch()
    flush_folder(folder)


def unmark(folder: Path) -> None:
    """Note that the run of a work folder is at work again."""
    (folder / _MARK).unlink(missing_ok=True)


def forget_finished(but: Path, now: float | None = None) -> None:
    """Remove what runs left that finished more than a day ago, all but the run of the folder `but`.

    At the second place only runs of the same step are looked for: much else may lie there.
    """
    before = (time.time() if now is None else now) - KEPT_S
    for mark in sorted(work_folder().glob(f"*/*/{_MARK}")):
        if mark.parent != but and mark.stat().st_mtime < before:
            for checkpoint in mark.parent.glob("step-*.pt"):  # first what a run would continue from
                checkpoint.unlink()
            shutil.rmtree(mark.parent, ignore_errors=True)
    if location := os.environ.get(VARIABLE):
        try:
            _forget_there(location, but.parent.name, but.name, before)
        except (InputError, StepFailed) as error:
            log.debug("what finished runs left at %s stays: %s", location, error)


def _forget_there(location: str, step: str, but: str, before: float) -> None:
    store = open_store(f"{location.rstrip('/')}/{step}")
    for name in list(store.names()):
        key, _, file = name.rpartition("/")
        if file != FINISHED or key == but or "/" in key:
            continue
        try:
            at = float(store.read(name))
        except ValueError:  # not ours
            continue
        if at < before:
            Mirror(open_store(f"{store.location.rstrip('/')}/{key}")).remove()
