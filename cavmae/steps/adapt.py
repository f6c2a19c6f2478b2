"""Step `adapt`: a vision-MAE checkpoint, or seeded random weights, become the first CAV-MAE model."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.errors import InputError
from cavmae.models.params import AdaptParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.dataset.loader import ClipSet
    from cavmae.models.cavmae import CAVMAE
    from cavmae.models.folder import Architecture, ModelConfig

log = logging.getLogger(__name__)


def adapt(dataset: Path, model: Path, params: AdaptParams) -> None:
    """Write the first model folder: architecture, log-mel statistics of the train split, and first weights.

    Raises InputError where the checkpoint cannot be read or its sizes do not fit, naming what to set.
    """
    import torch

    from cavmae.dataset.loader import ClipSet
    from cavmae.models.cavmae import CAVMAE
    from cavmae.models.folder import check_model_place, write_model
    from cavmae.models.lineage import lineage_of
    from cavmae.stores import is_remote

    here = params.checkpoint is not None and not is_remote(params.checkpoint)
    check_model_place(model, "adapt", (dataset, *([Path(str(params.checkpoint))] if here else [])))
    torch.set_num_threads(params.threads)
    config = _config(ClipSet(dataset), params)
    torch.manual_seed(params.seed)
    network = config.build()
    assert isinstance(network, CAVMAE)
    lineage = lineage_of("adapt", params, dataset, {})
    if params.checkpoint is None:
        log.info("adapt: no checkpoint given: all weights are drawn with seed %d", params.seed)
    else:
        lineage["checkpoint"] = _adapt(network, params.checkpoint)
    write_model(model, config, network.state_dict(), lineage)
    count = sum(parameter.numel() for parameter in network.parameters())
    log.info(
        "adapt: %.2f M parameters, audio %d x %d, picture %d px, log-mel mean %.3f and std %.3f -> %s",
        count / 1e6,
        config.architecture.audio_length,
        config.architecture.num_mel_bins,
        config.architecture.img_size,
        config.normalisation.mean,
        config.normalisation.std,
        model,
    )


def _adapt(network: "CAVMAE", location: str) -> dict[str, str]:
    """Give the model the checkpoint's weights; return the SHA-256 of its files by name."""
    from cavmae.locations import local_copy
    from cavmae.models.adapt import adapt as adapt_weights
    from cavmae.models.mae_checkpoint import read_mae_checkpoint
    from cavmae.models.state_file import LARGEST_BYTES
    from cavmae.storage import sha256_file

    with local_copy(location, LARGEST_BYTES) as checkpoint:
        weights = read_mae_checkpoint(checkpoint)
        try:
            report = adapt_weights(network, weights)
        except InputError as error:
            raise InputError(f"{checkpoint}: {error}") from None
        for line in report.lines():
            log.info("adapt: %s", line)
        files = sorted(path for path in checkpoint.rglob("*") if path.is_file()) if checkpoint.is_dir() else [checkpoint]
        return {file.name: sha256_file(file) for file in files}


def _config(data: "ClipSet", params: AdaptParams) -> "ModelConfig":
    from cavmae.features.fbank import FbankSettings
    from cavmae.features.statistics import log_mel_statistics
    from cavmae.models.folder import ClipShape, ModelConfig, Normalisation

    settings = data.settings
    clip = ClipShape.model_validate(
        {
            "window_s": round(data.longest_s, 3),
            "frames": settings["frames"],
            "frame_size": settings["image_size"],
            "frame_index": settings["frame_index"],
            "sample_rate": settings["sample_rate"],
        }
    )
    architecture = _architecture(data, params)
    mean, std = params.mean, params.std
    if mean is None or std is None:
        fbank = FbankSettings(clip.sample_rate, architecture.num_mel_bins, architecture.audio_length)
        measured = log_mel_statistics(data.split("train"), fbank)
        mean = round(measured.mean, 6) if mean is None else mean
        std = round(measured.std, 6) if std is None else std
        if not std > 0:
            raise InputError(f"{data.folder}: the train split's spectrograms are constant; give adapt.mean and adapt.std")
    return ModelConfig(
        kind="pretrained",
        architecture=architecture,
        clip=clip,
        normalisation=Normalisation(mean=mean, std=std),
        norm_pix_loss=False,
    )


def _architecture(data: "ClipSet", params: AdaptParams) -> "Architecture":
    """Fill in what the data decides: the picture's size, and the frames that the longest clip gives."""
    from cavmae.features.statistics import whole_patches
    from cavmae.models.folder import Architecture

    sizes = params.model.model_dump()
    if sizes["img_size"] is None:
        sizes["img_size"] = data.settings["image_size"]
    if sizes["audio_length"] is None:
        sizes["audio_length"] = whole_patches(data.longest_s, sizes["audio_patch_size"])
    return Architecture.model_validate(sizes)


STEP = Step(
    function=adapt,
    params=AdaptParams,
    inputs=(Artifact("dataset", "data/validated", "validated data set"),),
    outputs=(Artifact("model", "models/adapted", "folder for the first model"),),
    image="train",
    cpu=2,
    memory_gb=8,
)
