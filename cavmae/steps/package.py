"""Step `package`: the model folder that leaves the pipeline."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cavmae.errors import InputError
from cavmae.params import Section
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


class PackageParams(Section):
    """What the card says beyond what is measured."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


def package(start: Path, metrics: Path, model: Path, params: PackageParams) -> None:
    """Put the final model folder together: weights, configuration, lineage, metrics, run facts and a model card.

    run.json (who, when, where, how long each step took) is the one file that differs between equal runs. Raises InputError
    where `start` is no classifier, or `metrics` is not what `evaluate` wrote.
    """
    import shutil
    from hashlib import sha256

    from cavmae.evaluation.document import read_metrics
    from cavmae.models.card import model_card
    from cavmae.models.files import CONFIG, LINEAGE, WEIGHTS, model_fingerprint
    from cavmae.models.folder import check_model_place, read_config
    from cavmae.models.lineage import lineage_of
    from cavmae.runlog import run_facts
    from cavmae.storage import replace_folder, to_json, write_json

    check_model_place(model, "package", (start, metrics), more=("metrics.json", "run.json", "README.md"))
    config = read_config(start)
    if config.kind != "classifier":
        raise InputError(f"{start}: is no classifier; package a fine-tuned or averaged model")
    figures = read_metrics(metrics)
    lineage = lineage_of("package", params, None, {"start": start})
    lineage["metrics"] = sha256(to_json(figures).encode()).hexdigest()
    hashes = model_fingerprint(start)
    with replace_folder(model) as partial:
        shutil.copyfile(start / WEIGHTS, partial / WEIGHTS)
        shutil.copyfile(start / CONFIG, partial / CONFIG)
        write_json(partial / LINEAGE, lineage)
        write_json(partial / "metrics.json", figures)
        write_json(partial / "run.json", run_facts())
        card = model_card(params.name, config, figures, lineage, hashes[WEIGHTS])
        (partial / "README.md").write_text(card, encoding="utf-8")
    log.info("package: %s -> %s", params.name, model)


STEP = Step(
    function=package,
    params=PackageParams,
    inputs=(
        Artifact("start", "models/averaged/multimodal", "model folder to package"),
        Artifact("metrics", "metrics/evaluation.json", "what `evaluate` measured"),
    ),
    outputs=(Artifact("model", "models/final", "folder for the final model"),),
    image="train",
    cpu=1,
    memory_gb=4,
)
