"""metrics/decision.json: what `compare` found, and what `promote` reads of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from cavmae.errors import InputError
from cavmae.evaluation.comparison import Comparison
from cavmae.evaluation.params import CompareParams
from cavmae.models.registry import Sentence, Sha256
from cavmae.params import first_problem
from cavmae.storage import read_json


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Weighed(_Read):
    """Which files were measured."""

    sha256: Sha256
    config_sha256: Sha256


class Decision(_Read):
    """The part of a decision that a promotion rests on."""

    format: Literal[1]
    promote: StrictBool
    reason: Sentence
    candidate: Weighed
    champion: Weighed | None


def decision_document(found: Comparison, dataset: Mapping[str, str], params: CompareParams) -> dict[str, Any]:
    """Return the decision as JSON; `dataset` is the data set's fingerprint. Equal models and data give equal bytes."""
    champion = found.champion
    return {
        "format": 1,
        "promote": found.promote,
        "reason": found.reason,
        "rule": params.rule,
        "margin": params.margin,
        "metric": params.metric,
        "candidate": found.candidate.document(),
        "champion": None if champion is None else champion.document(),
        "difference": found.differences,
        "labels_unknown_to_candidate": found.candidate.unknown,
        "labels_only_of_candidate": found.candidate.ignored,
        "labels_unknown_to_champion": [] if champion is None else champion.unknown,
        "labels_only_of_champion": [] if champion is None else champion.ignored,
        "clips": len(found.clips),
        "groups": found.groups,
        "split": params.split,
        "dataset": dict(dataset),
        "params": params.model_dump(mode="json"),
    }


def read_decision(path: Path) -> Decision:
    """Return a decision; raises InputError where the file holds something else, naming the key."""
    document = read_json(path)
    try:
        return Decision.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{path}: is not what `compare` writes: {first_problem(error)}; run `cavmae compare` first") from None
