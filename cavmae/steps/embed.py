"""Step `embed`: features of clips, for whatever comes after."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.params import EmbedParams
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


def embed(videos: Sequence[Path], dataset: Path, model: Path, out: Path, params: EmbedParams) -> None:
    """Write what a model makes of the clips of a data set, or of video files: a row a clip, or a window of a file.

    Takes a pretrained model or a classifier. Raises InputError where there is no clip, the model lacks a modality, none of the
    files can be used, or writing `out` would cost something that is not an earlier result; StepFailed where the features are
    not finite.
    """
    import numpy as np
    import torch

    from cavmae.dataset.loader import ClipSet
    from cavmae.evaluation.clip_batches import Frames
    from cavmae.evaluation.embedding import MODALITIES, Modality, feature_shapes
    from cavmae.evaluation.embedding_files import Layout, holds_embeddings, npz_file, parquet_file
    from cavmae.evaluation.embedding_rows import dataset_batches, file_batches
    from cavmae.evaluation.inference import embed_batch
    from cavmae.media.clip import Part
    from cavmae.models.files import model_fingerprint
    from cavmae.models.folder import check_modalities, check_sample_rate, read_model
    from cavmae.models.lineage import dataset_fingerprint
    from cavmae.outputs import check_replaceable_file
    from cavmae.training.runs import prepare_torch

    missing = [video for video in videos if not video.exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such file")
    check_replaceable_file(out, (*videos, dataset, model), "embed", holds_embeddings)
    kind = _format(out, params)
    prepare_torch(params.device, params.threads, seed=0)
    config, network = read_model(model)
    wanted: tuple[Modality, ...] = MODALITIES if params.modality == "all" else (params.modality,)
    if wanted != ("audio",):
        check_modalities(config, model, f"modality={params.modality}", "or set modality=audio")
    pooled = params.features == "pooled"
    frames: Frames = "none" if wanted == ("audio",) else params.frames
    device = torch.device(params.device)
    if videos:
        labels: list[str] = []
        enough: dict[str, tuple[Part, ...]] = {"audio": ("sound",), "video": ("picture",)}
        batches = file_batches(videos, config, params.hop_s, frames, params.batch_size, enough.get(params.modality, ()))
    else:
        data = ClipSet(dataset)
        check_sample_rate(config, data.settings, model, dataset)
        labels = [label.mid for label in data.labels]
        batches = dataset_batches(data, params.split, config, frames, params.batch_size, device.type == "cuda")
    about = {
        "format": 1,
        "features": params.features,
        "frames": params.frames,
        "kind": config.kind,
        "model": model_fingerprint(model),
        "dataset": None if videos else dataset_fingerprint(dataset),
        "shapes": feature_shapes(network, wanted, pooled),
    }
    layout = Layout(feature_shapes(network, wanted, pooled), params.float16, labels, about)
    network.to(device)
    count = 0
    with (npz_file if kind == "npz" else parquet_file)(out, layout) as file:
        for batch in batches:
            raw, images = batch.raw.to(device), batch.images.to(device, non_blocking=True)
            found = embed_batch(network, config, raw, images, wanted, pooled, params.precision)
            features = {modality: values.cpu().numpy() for modality, values in found.items()}
            if not all(np.isfinite(values).all() for values in features.values()):
                raise StepFailed(f"{model}: gives features that are not finite; train it again with a lower lr")
            file.write(batch.rows, features)
            count += len(batch.rows)
    log.info("embed: %d clips, %s %s features -> %s", count, params.features, ", ".join(wanted), out)


def _format(out: Path, params: EmbedParams) -> Literal["parquet", "npz"]:
    """The format that the file's ending and the parameters agree on; raises InputError where they do not."""
    ending = out.suffix.removeprefix(".")
    if params.format == "auto" and ending not in ("parquet", "npz"):
        raise InputError(f"{out}: its ending says no format; end it in .parquet or .npz, or set format")
    if params.format != "auto" and ending in {"parquet", "npz"} - {params.format}:
        raise InputError(f"{out}: ends in .{ending}, but format is '{params.format}'; give --out embeddings.{params.format}")
    return "npz" if "npz" in (params.format, ending) else "parquet"


STEP = Step(
    function=embed,
    params=EmbedParams,
    inputs=(
        Artifact("videos", "VIDEO", "video files; none: the clips of a data set", optional=True, positional=True, many=True),
        Artifact("dataset", "data/validated", "validated data set, where no video files are given"),
        Artifact("model", "models/pretrained", "model folder, pretrained or classifier"),
    ),
    outputs=(Artifact("out", "data/embeddings.parquet", "file for the features, .parquet or .npz"),),
    image="train",
    cpu=4,
    memory_gb=8,
    in_pipeline=False,
)
