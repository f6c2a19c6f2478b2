"""What the training steps share: threads and determinism, the work folder of a run, and writing what came out of it."""

import logging
import os
import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from cavmae.errors import InputError
from cavmae.locking import alone
from cavmae.models.files import EPOCHS
from cavmae.models.folder import ModelConfig, check_model_place, fill_model_folder
from cavmae.storage import replace_folder, sha256_json, work_folder
from cavmae.training.curves import CurveRow, write_curves
from cavmae.training.distributed import current_world
from cavmae.training.engine import Engine
from cavmae.training.finished import forget_finished
from cavmae.training.objective import Objective
from cavmae.training.optimizer import build_optimizer
from cavmae.training.params import TrainingParams
from cavmae.training.predecessors import note_start

log = logging.getLogger(__name__)
CURVES = "curves.tsv"
# parameters that change no bit of the result: a run goes on where one with others of them was stopped
UNRELATED = frozenset({"checkpoint_s", "readers"})


def prepare_torch(device: str, threads: int, seed: int) -> None:
    """Set threads, seed and deterministic kernels; raises InputError where the device is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda', but torch sees no GPU on this machine; set device=cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)


def check_place(model: Path, step: str, inputs: Iterable[Path]) -> None:
    """Raise InputError where training could not write its model folder in the end, or would lose something else there."""
    check_model_place(model, step, inputs, more=(CURVES,), below=("epoch-*.safetensors",))


def train(
    step: str,
    objective: Objective,
    params: TrainingParams,
    lineage: dict[str, Any],
    config: ModelConfig,
    model: Path,
    curves: Path,
    events: Path,
    head_lr: float = 1.0,
) -> list[CurveRow]:
    """Train, then write the model folder with the weights of the last epochs, and the learning curves.

    The state that a killed run needs lies in a work folder keyed by the hash of lineage (code, data, parents, parameters), not
    by the number of processes; the last one stays for a day after the outputs are there. A second process with the same key
    waits for the first. Of several processes that train together the first writes; raises InputError where another one was
    given something else to train on.
    """
    inputs = {key: lineage[key] for key in ("step", "packages", "dataset")}
    # the parents by their files and the code by its content: neither a commit nor how often is saved changes the weights
    inputs["code"] = lineage["code"]["sha256"]
    inputs["parents"] = {name: parent["files"] for name, parent in lineage["parents"].items()}
    inputs["params"] = {key: value for key, value in lineage["params"].items() if key not in UNRELATED}
    key, world = sha256_json(inputs)[:16], current_world()
    if key != (expected := world.from_first(key)):
        raise InputError(
            f"process {world.rank} has other code, data, parents or parameters than process 0 (run {key} instead of {expected}); "
            "give all processes the same"
        )
    with alone("training", step, key) if world.is_first else nullcontext():
        work = work_folder(step, key)
        if world.is_first:
            forget_finished(work)
        engine = Engine(objective, build_optimizer(objective.model, params, head_lr), params, work, events)
        if world.is_first:
            note_start(work, model, inputs, anew=not engine.checkpoints.steps())
        rows = engine.run(f"{step} {events.name}")
        if world.is_first:
            _write(engine, rows, config, lineage, model, curves)
    return rows


def _write(engine: Engine, rows: list[CurveRow], config: ModelConfig, lineage: dict[str, Any], model: Path, curves: Path) -> None:
    """Write the outputs. Until all of them are there, the state after the last step is in the work folder."""
    last, kept = engine.params.epochs, engine.params.keep_epochs
    with replace_folder(model) as partial:
        with engine.stepper.averaged():
            fill_model_folder(partial, config, engine.objective.model.state_dict(), lineage)
        write_curves(partial / CURVES, rows)
        for epoch in range(max(1, last - kept + 1), last + 1):
            (partial / EPOCHS).mkdir(exist_ok=True)
            _place(engine.epoch_weights(epoch), partial / EPOCHS)
    write_curves(curves, rows)
    engine.checkpoints.finish()


def _place(path: Path, folder: Path) -> None:
    """Put a file into a folder, as a second name of the same file where that can be: nothing changes either any more."""
    try:
        os.link(path, folder / path.name)
    except OSError:
        shutil.copyfile(path, folder / path.name)
