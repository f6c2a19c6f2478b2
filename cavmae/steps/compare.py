"""Step `compare`: is a new model better than the champion, on the same clips?"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.errors import InputError
from cavmae.evaluation.params import CompareParams
from cavmae.steps.step import Artifact, Step
from cavmae.text_tables import aligned

if TYPE_CHECKING:
    from cavmae.evaluation.comparison import Comparison

log = logging.getLogger(__name__)


def compare(dataset: Path, candidate: Path, registry: str, decision: Path, params: CompareParams) -> "Comparison":
    """Measure a candidate and the registry's champion on the same clips, and decide which is to be champion.

    A decision to keep the champion is a result, not a failure; `promote` carries out either. Raises InputError where models
    and data do not fit, or the registry is damaged.
    """
    from cavmae.dataset.loader import ClipSet
    from cavmae.evaluation.comparison import compare_models
    from cavmae.evaluation.decision import decision_document
    from cavmae.models.files import WEIGHTS, model_fingerprint
    from cavmae.models.lineage import dataset_fingerprint
    from cavmae.models.registries import open_registry
    from cavmae.storage import write_json
    from cavmae.training.runs import prepare_torch

    prepare_torch(params.device, params.threads, params.seed)
    versions = open_registry(registry)
    champion = versions.read_champion()
    folder = versions.model_folder(champion.version) if champion else None
    if champion and folder and model_fingerprint(folder)[WEIGHTS] != champion.sha256:
        raise InputError(f"{folder}: its {WEIGHTS} is not what was promoted; restore the folder")
    found = compare_models(ClipSet(dataset), candidate, folder, params)
    for who, contender in (("candidate", found.candidate), ("champion", found.champion)):
        if contender and contender.unknown:
            log.warning("compare: the %s does not know %d of the labels: %s", who, len(contender.unknown), contender.unknown[0])
    write_json(decision, decision_document(found, dataset_fingerprint(dataset), params))
    return found


def as_text(found: "Comparison", params: CompareParams) -> str:
    """The metric of both with its interval, their difference, and the decision."""
    from cavmae.models.files import WEIGHTS
    from cavmae.models.registry import version_of

    rows = [["", params.metric, f"{100 * params.confidence:g} % interval", "mode", "weights"]]
    for name, contender in (("candidate", found.candidate), ("champion", found.champion)):
        if contender is not None:
            value, low, high = (contender.figures.get(f"{params.metric}{end}") for end in ("", "_low", "_high"))
            number = "-" if value is None else f"{value:.4f}"
            bounds = "-" if low is None else f"{low:.4f} to {high:.4f}"
            rows.append([name, number, bounds, str(contender.config.mode), version_of(contender.files[WEIGHTS])])
    if found.differences:
        one = found.differences[params.metric]
        rows.append(["difference", f"{one['difference']:+.4f}", f"{one['low']:+.4f} to {one['high']:+.4f}", "", ""])
    lines = aligned(rows)
    lines.append(f"{len(found.clips):,} {params.split} clips of {found.groups:,} groups")
    return "\n".join([*lines, f"{'promote' if found.promote else 'keep the champion'}: {found.reason}"])


STEP = Step(
    function=compare,
    params=CompareParams,
    inputs=(
        Artifact("dataset", "data/validated", "validated data set"),
        Artifact("candidate", "models/averaged/multimodal", "model folder of a classifier"),
        Artifact("registry", "models/registry", "folder or s3:// prefix of the registry, which may be missing", remote=True),
    ),
    outputs=(Artifact("decision", "metrics/decision.json", "the decision, and what it rests on"),),
    image="train",
    cpu=4,
    memory_gb=16,
    gpu=1,
    in_pipeline=False,
    present=as_text,
)
