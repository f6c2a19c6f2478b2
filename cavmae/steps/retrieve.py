"""Step `retrieve`: does a clip's sound find its own picture, and the other way round?"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.evaluation.params import RetrieveParams
from cavmae.steps.step import Artifact, Step
from cavmae.text_tables import aligned

if TYPE_CHECKING:
    from cavmae.evaluation.gallery import Gallery

log = logging.getLogger(__name__)


def retrieve(dataset: Path, model: Path, metrics: Path, gallery: Path, params: RetrieveParams) -> "Gallery":
    """Measure retrieval of pictures by sound and of sounds by picture on one split, and show some searches.

    Takes a pretrained model or a classifier. Raises InputError where the split holds no clips, the model lacks a modality,
    or writing the outputs would cost something that is not an earlier result.
    """
    import numpy as np
    import torch

    from cavmae.dataset.loader import ClipSet
    from cavmae.evaluation.gallery import Gallery, search, view_clips
    from cavmae.evaluation.gallery_page import PAGE, WRITTEN, write_gallery
    from cavmae.evaluation.inference import embed_clips
    from cavmae.evaluation.retrieval import measure, rank_clips
    from cavmae.models.folder import check_modalities, check_sample_rate, read_model
    from cavmae.outputs import check_replaceable, check_replaceable_file
    from cavmae.storage import write_json
    from cavmae.training.runs import prepare_torch

    check_replaceable(gallery, (dataset, model, metrics), WRITTEN, "--gallery")
    check_replaceable_file(metrics, (dataset, model), "retrieve", _holds_figures, "--metrics")
    prepare_torch(params.device, params.threads, params.seed)
    data = ClipSet(dataset)
    clips = data.split(params.split)
    config, network = read_model(model)
    check_modalities(config, model, "retrieval")
    check_sample_rate(config, data.settings, model, dataset)
    device = torch.device(params.device)
    audio, video = embed_clips(network, config, clips, params.batch_size, device, params.frames, params.precision)
    ranks = rank_clips(audio, video)
    groups = np.array([clip.group for clip in clips])
    figures = measure(ranks, params.replicates, params.seed, params.confidence, groups, params.official_ties)
    searches = {way: search(way, audio, video, one, params.gallery_queries, params.seed) for way, one in ranks.items()}
    names = [label.display_name for label in data.labels]
    views = view_clips([one for found in searches.values() for one in found], clips, names, config.clip.sample_rate)
    shown = Gallery(params.split, len(clips), str(model), params.confidence, params.official_ties, figures, searches, views)
    write_gallery(gallery, shown)
    write_json(metrics, {params.split: {"clips": len(clips), "retrieval": figures}})
    log.info("retrieve: %d %s clips -> %s and %s", len(clips), params.split, metrics, gallery / PAGE)
    return shown


def _holds_figures(metrics: Path) -> bool:
    """Whether a file holds what `retrieve` writes for machines."""
    from cavmae.storage import read_json

    document = read_json(metrics)
    parts = list(document.values()) if isinstance(document, dict) else []
    return bool(parts) and all(isinstance(part, dict) and part.keys() == {"clips", "retrieval"} for part in parts)


def as_text(gallery: "Gallery", params: RetrieveParams) -> str:
    """The figures as a table, with their intervals where there are any."""
    keys = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median_rank": "median rank"}
    rows = [["retrieval", *keys.values(), "R@1 by chance"]]
    for way, figures in gallery.figures.items():
        row = [way.replace("_", " ")]
        for key in keys:
            digits = 1 if key == "median_rank" else 3
            bounds = [f"{figures[f'{key}_{side}']:.{digits}f}" for side in ("low", "high") if f"{key}_{side}" in figures]
            row.append(f"{figures[key]:.{digits}f}" + (f" ({bounds[0]} to {bounds[1]})" if bounds else ""))
        rows.append([*row, f"{figures['chance_r1']:.4f}"])
    return "\n".join(aligned(rows))


STEP = Step(
    function=retrieve,
    params=RetrieveParams,
    inputs=(
        Artifact("dataset", "data/validated", "validated data set"),
        Artifact("model", "models/pretrained", "model folder, pretrained or classifier"),
    ),
    outputs=(
        Artifact("metrics", "metrics/retrieval.json", "figures for machines"),
        Artifact("gallery", "reports/retrieval", "folder of the gallery: index.html and a picture for each direction"),
    ),
    image="train",
    cpu=4,
    memory_gb=16,
    in_pipeline=False,
    present=as_text,
)
