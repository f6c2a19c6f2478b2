"""Our input path, in turns: from shards to what the model takes, or as far as the host has to go where a device does the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.workers.pipe import Meter, Turns, peak_bytes
from cavmae.dataset.loader import ClipSet
from cavmae.models.cavmae import CAVMAE
from cavmae.models.folder import read_model
from cavmae.params import default_params_path, load_section
from cavmae.training.batches import TrainBatch
from cavmae.training.params import PretrainParams
from cavmae.training.pretraining import Pretraining


def objective_of(dataset: Path, model: Path, batch: int, device: str, augment: bool = True) -> Pretraining:
    """Pretraining over a data set, augmented as the original's AudioSet pretraining is."""
    changes = {"device": device, "batch_size": batch, "noise": str(augment).lower(), "roll": 1024 if augment else 0}
    overrides = [f"{key}={value}" for key, value in changes.items()]
    params = load_section(PretrainParams, "pretrain", default_params_path(), overrides)
    config, network = read_model(model)
    assert isinstance(network, CAVMAE)
    return Pretraining(network, config, ClipSet(dataset), params)


def batches(objective: Pretraining, epoch: int) -> Iterator[TrainBatch]:
    """The batches of an epoch, as the engine asks for them; with device `cuda` nothing is computed that the device would."""
    order, size = objective.order(epoch).tolist(), objective.params.batch_size
    wanted = [order[at : at + size] for at in range(0, len(order), size)]
    with objective.reading(wanted) as done:
        for number, indices in enumerate(wanted):
            yield objective.build(indices, epoch)
            done(number)


def main() -> None:
    """Read an epoch a turn."""
    turns = Turns()
    settings: dict[str, Any] = turns.wait()
    torch.set_num_threads(settings["threads"])
    dataset, model = Path(settings["dataset"]), Path(settings["model"])
    sides = {device: objective_of(dataset, model, settings["batch"], device) for device in ("cpu", "cuda")}
    turns.answer(torch=torch.__version__)
    meter = Meter()
    while True:
        request = turns.wait()
        answer = {}
        for device, objective in sides.items():
            meter.start()
            clips = sum(len(batch.clips) for batch in batches(objective, request["turn"]))
            answer[device] = {**meter.read(), "clips": clips}
        turns.answer(**answer, peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
