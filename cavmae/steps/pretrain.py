"""Step `pretrain`: contrastive masked pretraining on all clips of the train split, without their labels."""

import logging
from pathlib import Path

from cavmae.errors import InputError
from cavmae.steps.step import Artifact, Step
from cavmae.training.params import PretrainParams

log = logging.getLogger(__name__)


def pretrain(dataset: Path, start: Path, model: Path, curves: Path, events: Path, params: PretrainParams) -> None:
    """Train CAV-MAE to reconstruct masked sound and picture and to tell which belong together.

    Continues from the last checkpoint where an equal run was stopped. Raises StepFailed where the loss is no longer finite.
    """
    from cavmae.dataset.loader import ClipSet
    from cavmae.models.cavmae import CAVMAE
    from cavmae.models.folder import check_sample_rate, read_model
    from cavmae.models.lineage import lineage_of
    from cavmae.training.joining import joined
    from cavmae.training.pretraining import Pretraining
    from cavmae.training.runs import check_place, prepare_torch, train

    with joined(params.device):
        check_place(model, "pretrain", (dataset, start))
        prepare_torch(params.device, params.threads, params.seed)
        config, network = read_model(start)
        if not isinstance(network, CAVMAE):
            raise InputError(f"{start}: is a classifier; pretraining starts from an adapted or pretrained model")
        config = config.model_copy(update={"norm_pix_loss": params.norm_pix_loss})
        network.norm_pix_loss = params.norm_pix_loss
        data = ClipSet(dataset)
        check_sample_rate(config, data.settings, start, dataset)
        lineage = lineage_of("pretrain", params, dataset, {"start": start})
        rows = train("pretrain", Pretraining(network, config, data, params), params, lineage, config, model, curves, events)
        log.info("pretrain: %d epochs, train loss %.4f -> %s", params.epochs, rows[-1]["train_loss"], model)


STEP = Step(
    function=pretrain,
    params=PretrainParams,
    inputs=(
        Artifact("dataset", "data/validated", "validated data set"),
        Artifact("start", "models/adapted", "model folder to start from"),
    ),
    outputs=(
        Artifact("model", "models/pretrained", "folder for the pretrained model"),
        Artifact("curves", "metrics/curves/pretrain.tsv", "learning curves"),
        Artifact("events", "runs/pretrain", "folder for TensorBoard events", tracked=False),
    ),
    image="train",
    cpu=8,
    memory_gb=32,
    gpu=1,
)
