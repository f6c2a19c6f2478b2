"""Step `promote`: a decision becomes the registry's champion, once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from cavmae.errors import InputError
from cavmae.params import Section
from cavmae.runlog import RUN_VARIABLE
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.models.registry import Promotion

_RUN_ID = "1 to 200 printable characters"


class PromoteParams(Section):
    """Which run promotes."""

    run_id: str | None
    wait_s: Annotated[float, Field(ge=0)]

    @field_validator("run_id")
    @classmethod
    def _can_be_written(cls, value: str | None) -> str | None:
        if value is not None and not _is_run_id(value):
            raise ValueError(f"give {_RUN_ID}")
        return value


def promote(candidate: Path, decision: Path, registry: str, params: PromoteParams) -> "Promotion":
    """Make the candidate the champion where the decision says so, and write down what was done.

    A run does so once: the same run again changes nothing. Raises InputError where the decision is not about this candidate,
    and StepFailed where the champion has changed since.
    """
    from cavmae.evaluation.decision import read_decision
    from cavmae.models.registries import open_registry
    from cavmae.models.registry import Proposal
    from cavmae.storage import sha256_file

    versions = open_registry(registry)
    found = read_decision(decision)
    sha256 = sha256_file(decision)
    proposal = Proposal(
        run_id=_run_id(params) or f"decision-{sha256[:16]}",
        decision=sha256,
        promote=found.promote,
        reason=found.reason,
        weights=found.candidate.sha256,
        config=found.candidate.config_sha256,
        champion=found.champion.sha256 if found.champion else None,
    )
    return versions.promote(candidate, proposal, params.wait_s)


def _run_id(params: PromoteParams) -> str | None:
    given = params.run_id or os.environ.get(RUN_VARIABLE) or None
    if given is not None and not _is_run_id(given):
        raise InputError(f"{RUN_VARIABLE} is {given[:200]!r}; give {_RUN_ID}")
    return given


def _is_run_id(word: str) -> bool:
    return 0 < len(word) <= 200 and word.isprintable()


def as_text(done: "Promotion", params: PromoteParams) -> str:
    """What happened, in a sentence."""
    return outcome(done)


def outcome(done: "Promotion") -> str:
    """What happened, in a sentence."""
    entry = done.entry
    if not done.changed:
        before = f"run {entry.run_id} has {entry.outcome.replace('_', ' ')} {entry.to_version} before"
        return f"nothing changed: {before}, the champion is {done.champion}; to decide anew give another run_id"
    if entry.outcome == "kept":
        return f"kept {entry.to_version}, candidate {entry.candidate}: {entry.reason}"
    before = f" in place of {entry.from_version}" if entry.from_version else ""
    return f"promoted {entry.to_version}{before}: {entry.reason}"


STEP = Step(
    function=promote,
    params=PromoteParams,
    inputs=(
        Artifact("candidate", "models/averaged/multimodal", "model folder that was compared"),
        Artifact("decision", "metrics/decision.json", "what `compare` decided"),
    ),
    outputs=(
        Artifact(
            "registry",
            "models/registry",
            "folder or s3:// prefix of the registry: versions, history, the champion's name",
            remote=True,
        ),
    ),
    image="train",
    cpu=1,
    memory_gb=4,
    in_pipeline=False,
    present=as_text,
)
