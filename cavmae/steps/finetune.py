"""Step `finetune`: a pretrained model becomes a classifier of sound, of pictures or of both."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.steps.step import Artifact, Step
from cavmae.training.params import FinetuneParams

if TYPE_CHECKING:
    from cavmae.dataset.loader import ClipSet
    from cavmae.models.folder import ModelConfig

log = logging.getLogger(__name__)


def finetune(dataset: Path, start: Path, model: Path, curves: Path, events: Path, params: FinetuneParams) -> None:
    """Fine-tune on the labelled clips of the train split, in one of the five modality modes.

    Where it starts from a classifier, the head keeps the rows of the labels that it knows. Continues from the last checkpoint
    where an equal run was stopped. Raises InputError where the data has no labels, and StepFailed where the loss is no longer
    finite.
    """
    from cavmae.dataset.loader import ClipSet
    from cavmae.models.cavmaeft import CAVMAEFT
    from cavmae.models.folder import check_modalities, check_sample_rate, read_config, read_model
    from cavmae.models.head import start_from
    from cavmae.models.lineage import lineage_of
    from cavmae.training.finetuning import Finetuning, labelled
    from cavmae.training.joining import joined
    from cavmae.training.runs import check_place, prepare_torch, train

    with joined(params.device):
        check_place(model, "finetune", (dataset, start))
        prepare_torch(params.device, params.threads, params.seed)
        data = ClipSet(dataset)
        labelled(data, "train")  # refuses data without labels before a head without outputs is made
        if params.mode != "audioonly":
            check_modalities(read_config(start), start, f"fine-tuning in mode {params.mode}")
        config = _classifier_config(read_config(start), data, params)
        check_sample_rate(config, data.settings, start, dataset)
        network = config.build()
        assert isinstance(network, CAVMAEFT)
        if not params.from_scratch:
            before, parent = read_model(start)
            labels, known = ([label.mid for label in item.labels or ()] for item in (config, before))
            network.load_state_dict(start_from(network.state_dict(), parent.state_dict(), labels, known))
            if before.kind == "classifier":
                kept = len(set(labels) & set(known))
                log.info("finetune: the head keeps %d of %d labels, %d are new", kept, len(known), len(labels) - kept)
        lineage = lineage_of("finetune", params, dataset, {"start": start})
        objective = Finetuning(network, config, data, params)
        rows = train("finetune", objective, params, lineage, config, model, curves, events, params.head_lr)
        last = ", ".join(f"{key} {value:.3f}" for key, value in rows[-1].items() if key.startswith("val_"))
        log.info(
            "finetune (%s): %d epochs on %d clips, %s -> %s", params.mode, params.epochs, len(objective.train.clips), last, model
        )


def _classifier_config(start: "ModelConfig", data: "ClipSet", params: FinetuneParams) -> "ModelConfig":
    """The starting model's configuration with labels, mode and loss; `auto` takes CE where every clip has one label."""
    from cavmae.models.folder import LabelName

    clips = [clip for split in data.splits.values() for clip in split]
    several = any(len(clip.labels) > 1 for clip in clips)
    if params.loss == "ce" and several:
        log.warning("finetune: loss is 'ce', but some clips have several labels; their weights are summed, not normalised")
    return start.model_copy(
        update={
            "kind": "classifier",
            "norm_pix_loss": None,
            "mode": params.mode,
            "single_label": params.loss == "ce" or (params.loss == "auto" and not several),
            "labels": [LabelName(mid=label.mid, display_name=label.display_name) for label in data.labels],
        }
    )


STEP = Step(
    function=finetune,
    params=FinetuneParams,
    inputs=(
        Artifact("dataset", "data/validated", "validated data set"),
        Artifact("start", "models/pretrained", "model folder to start from"),
    ),
    outputs=(
        Artifact("model", "models/finetuned/multimodal", "folder for the classifier"),
        Artifact("curves", "metrics/curves/multimodal.tsv", "learning curves"),
        Artifact("events", "runs/multimodal", "folder for TensorBoard events", tracked=False),
    ),
    image="train",
    cpu=8,
    memory_gb=32,
    gpu=1,
)
