"""Step `inpaint`: what a pretrained model restores of sound and picture when most of both is hidden."""

import logging
from collections.abc import Sequence
from pathlib import Path

from cavmae.errors import InputError
from cavmae.evaluation.params import InpaintParams
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


def inpaint(videos: Sequence[Path], dataset: Path | None, model: Path, out: Path, params: InpaintParams) -> None:
    """Hide patches of sound and picture, let a pretrained model restore them; write figures, sounds, a page and the losses.

    Takes the first window of each video file, or where none is given the first clips of a split of the data set. A file
    that cannot be used is named, and the others go on. Raises InputError where the folder holds no pretrained model, where
    none of the files can be used, or where writing `out` would cost something that is not an earlier result.
    """
    import torch

    from cavmae.dataset.loader import ClipSet
    from cavmae.evaluation.inpainting_folder import PAGE, WRITTEN, fill_inpaint_folder
    from cavmae.evaluation.inpainting_sources import as_text, from_dataset, from_files
    from cavmae.evaluation.tables import number
    from cavmae.models.cavmae import CAVMAE
    from cavmae.models.files import model_fingerprint
    from cavmae.models.folder import check_sample_rate, read_model
    from cavmae.outputs import check_replaceable
    from cavmae.storage import replace_folder
    from cavmae.training.runs import prepare_torch

    missing = [video for video in videos if not video.exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such file")
    if not videos and dataset is None:
        raise InputError("nothing to inpaint; name video files, or a data set with --dataset")
    check_replaceable(out, (*videos, dataset, model), WRITTEN)
    prepare_torch(params.device, params.threads, params.seed)
    config, network = read_model(model)
    if not isinstance(network, CAVMAE):
        raise InputError(f"{model}: is a classifier, which has no decoder to restore anything; give a pretrained model")
    if network.norm_pix_loss:
        log.warning(
            "inpaint: %s was trained on normalised patches (norm_pix_loss): every hidden patch is given its true mean and "
            "standard deviation, which the model does not predict",
            model,
        )
    if videos or dataset is None:
        sources = from_files(videos, config)
    else:
        data = ClipSet(dataset)
        check_sample_rate(config, data.settings, model, dataset)
        sources = from_dataset(data.split(params.split)[: params.count], config)
    network.to(torch.device(params.device)).eval()
    origin = {"path": as_text(model)} | model_fingerprint(model)
    with replace_folder(out) as partial:
        document = fill_inpaint_folder(partial, sources, network, config, origin, params)
    log.info(
        "inpaint: %d clips, mean loss of sound %s, of picture %s -> %s",
        len(document["clips"]),
        number(document["mean"]["loss_a"]),
        number(document["mean"]["loss_v"]),
        out / PAGE,
    )


STEP = Step(
    function=inpaint,
    params=InpaintParams,
    inputs=(
        Artifact("videos", "VIDEO", "video files; where none is named, clips of the data set", True, positional=True, many=True),
        Artifact("dataset", "data/validated", "validated data set", optional=True),
        Artifact("model", "models/pretrained", "pretrained model"),
    ),
    outputs=(Artifact("out", "reports/inpaint", "folder of figures, sounds, index.html and losses.json"),),
    image="train",
    cpu=1,
    memory_gb=4,
    in_pipeline=False,
)
