"""Step `validate`: the gate between making clips and training on them."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.dataset.expectations import Limits
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.dataset.validation import Verdict

log = logging.getLogger(__name__)


class ValidateParams(Limits):
    """What a dataset has to satisfy before a model is trained on it."""


def validate(clips: Path, shards: Path, out: Path, params: ValidateParams) -> "Verdict":
    """Hold manifest, shards and media facts against the expectations; write the accepted clips, verdict and documents.

    Writes into `out`: clips.parquet, labels.csv, index.json, quarantine.parquet (of all steps so far), verdict.json and
    docs/index.html, whether the gate opens or not: the caller asks `Verdict.failure()`. Raises InputError where an
    input is missing or malformed.
    """
    from cavmae.dataset.validation import WRITTEN, validate_dataset
    from cavmae.outputs import check_replaceable

    check_replaceable(out, (clips, shards), WRITTEN)
    verdict = validate_dataset(clips, shards, out, params)
    log.info(
        "validate: %d of %d manifest rows accepted, %d inputs quarantined; %d expectations failed, %d warned -> %s",
        verdict.counts["clips"],
        verdict.counts["manifest"],
        verdict.counts["quarantined"],
        len(verdict.failed),
        len(verdict.warned),
        verdict.page,
    )
    for name in verdict.warned:
        log.warning("validate: expectation %s is not met (a warning: the gate stays open)", name)
    return verdict


STEP = Step(
    function=validate,
    params=ValidateParams,
    inputs=(
        Artifact("clips", "data/ingest", "folder that `ingest` wrote"),
        Artifact("shards", "data/shards", "folder that `extract` wrote"),
    ),
    outputs=(Artifact("out", "data/validated", "folder for the accepted clips, the verdict and the documents"),),
    image="data",
    cpu=1,
    memory_gb=4,
)
