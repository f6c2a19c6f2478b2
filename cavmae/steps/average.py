"""Step `average`: one model from the weights of several epochs."""

import logging
from pathlib import Path

from cavmae.steps.step import Artifact, Step
from cavmae.training.params import AverageParams

log = logging.getLogger(__name__)


def average(start: Path, model: Path, params: AverageParams) -> None:
    """Average the weights of a range of epochs, of the last ones, or of the best on the validation split.

    Raises InputError where the model folder does not keep the epochs asked for.
    """
    from cavmae.models.files import EPOCHS
    from cavmae.models.folder import check_fits, check_model_place, read_config, write_model
    from cavmae.models.lineage import lineage_of
    from cavmae.storage import sha256_file
    from cavmae.training.averaging import average_weights, epochs_to_average

    check_model_place(model, "average", (start,))
    config = read_config(start)
    epochs = epochs_to_average(start, params)
    paths = [start / EPOCHS / f"epoch-{epoch:04d}.safetensors" for epoch in epochs]
    state = average_weights(paths)
    check_fits(config, state, paths[0])
    lineage = lineage_of("average", params, None, {"start": start})
    lineage["epochs"] = {path.name: sha256_file(path) for path in paths}
    write_model(model, config, state, lineage)
    log.info("average: mean of epochs %s -> %s", ", ".join(map(str, epochs)), model)


STEP = Step(
    function=average,
    params=AverageParams,
    inputs=(Artifact("start", "models/finetuned/multimodal", "model folder with the weights of its last epochs"),),
    outputs=(Artifact("model", "models/averaged/multimodal", "folder for the averaged model"),),
    image="train",
    cpu=1,
    memory_gb=8,
)
