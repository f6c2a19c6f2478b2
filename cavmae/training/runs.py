"""What the training steps share: threads and determinism, the work folder of a run, and writing what came out of it."""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from cavmae.errors import InputError
from cavmae.models.folder import ModelConfig, check_model_place, fill_model_folder
from cavmae.storage import replace_folder, sha256_json, work_folder
from cavmae.training.curves import CurveRow, write_curves
from cavmae.training.distributed import current_world
from cavmae.training.engine import Engine
from cavmae.training.objective import Objective
from cavmae.training.optimizer import build_optimizer
from cavmae.training.params import TrainingParams

log = logging.getLogger(__name__)
EPOCHS = "epochs"  # sub-folder of a model folder that holds the weights of its last epochs
CURVES = "curves.tsv"


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

    The state that a killed run needs lies in a work folder keyed by the hash of lineage (code, data, parents, parameters),
    not by the number of processes; it is removed when the outputs are there. Of several processes the first writes; raises
    InputError where another one was given something else to train on.
    """
    inputs = {key: lineage[key] for key in ("step", "packages", "dataset")}
    # the parents by their files and the code by its content: neither a commit nor how often is saved changes the weights
    inputs["code"] = lineage["code"]["sha256"]
    inputs["parents"] = {name: parent["files"] for name, parent in lineage["parents"].items()}
    inputs["params"] = {key: value for key, value in lineage["params"].items() if key != "checkpoint_s"}
    key, world = sha256_json(inputs)[:16], current_world()
    if key != (expected := world.from_first(key)):
        raise InputError(
            f"process {world.rank} has other code, data, parents or parameters than process 0 (run {key} instead of {expected}); "
            "give all processes the same"
        )
    work = work_folder(step, key)
    optimizer = build_optimizer(objective.model, params, head_lr)
    engine = Engine(objective, optimizer, params, work, events)
    rows = engine.run(f"{step} {events.name}")
    if not world.is_first:
        return rows
    with replace_folder(model) as partial:
        fill_model_folder(partial, config, objective.model.state_dict(), lineage)
        write_curves(partial / CURVES, rows)
        for epoch in range(params.epochs - params.keep_epochs + 1, params.epochs + 1):
            if epoch >= 1:
                (partial / EPOCHS).mkdir(exist_ok=True)
                shutil.copyfile(engine.epoch_weights(epoch), partial / EPOCHS / engine.epoch_weights(epoch).name)
    write_curves(curves, rows)
    engine.checkpoints.remove()
    return rows
