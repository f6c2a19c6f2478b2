"""The registry: versions of a model, which of them is the champion, and how it became that; wherever it is kept.

Rolling back is in `rollback`, which rests on what is here.
"""

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import CONFIG, WEIGHTS, model_fingerprint
from cavmae.runlog import user_name

_DIGITS = 16
_POLL_S = 0.2
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Version = Annotated[str, Field(pattern=rf"\A[0-9a-f]{{{_DIGITS}}}\z")]
Sentence = Annotated[str, Field(pattern=r"\A[^\x00-\x1f\x7f-\x9f]{1,1000}\z")]
RunId = Annotated[str, Field(pattern=r"\A[^\x00-\x1f\x7f-\x9f]{1,200}\z")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Champion(_Record):
    """champion.json. It also holds what a line of the history needs, so that the next run can write one that is missing."""

    format: Literal[1] = 1
    version: Version
    sha256: Sha256
    run_id: RunId
    decision: Sha256
    from_version: Version | None
    reason: Sentence
    outcome: Literal["promoted", "rolled_back"] = "promoted"


class Entry(_Record):
    """What the history tells of one run. `late`: written by another run, because the one that promoted did not come to it."""

    time: str
    who: str
    run_id: RunId
    decision: Sha256
    outcome: Literal["promoted", "kept", "rolled_back"]
    candidate: Version
    from_version: Version | None
    to_version: Version | None
    reason: Sentence
    late: bool = False

    @property
    def moved(self) -> bool:
        """Whether the pointer moved."""
        return self.outcome != "kept"


@dataclass(frozen=True)
class Proposal:
    """What a decision says: these weights, measured against that champion, are to be promoted or not."""

    run_id: str
    decision: str  # SHA-256 of the decision's file
    promote: bool
    reason: str
    weights: str
    config: str
    champion: str | None  # SHA-256 of its weights

    @property
    def version(self) -> str:
        """The version that the candidate is or will be."""
        return version_of(self.weights)


@dataclass(frozen=True)
class Promotion:
    """What became of a proposal; `changed` is false where its run had been here before. `champion` is the version now."""

    entry: Entry
    champion: str | None
    changed: bool


def version_of(sha256: str) -> str:
    """Return the name of the version with these weights."""
    return sha256[:_DIGITS]


class Registry(ABC):
    """What every kind of registry does; one kind says how it reads, excludes others, stores, and moves the pointer.

    The pointer is what counts: it moves in one atomic step, after the version is there and before the history tells of it.
    Nothing rests on the exclusion alone, which not every kind has: pointer and history change only as they were seen last.
    """

    patience_s = 0.0  # how long a promotion that has moved the pointer is waited for, until another run tells of it

    @abstractmethod
    def read_champion(self) -> Champion | None:
        """Return the pointer, None before the first promotion; raises InputError where it is damaged."""

    @abstractmethod
    def history(self) -> list[Entry]:
        """Return all entries, the oldest first; raises InputError where one is damaged."""

    @abstractmethod
    def model_folder(self, version: str) -> Path:
        """Return a local folder with the files of a version."""

    @abstractmethod
    def lineage(self, version: str) -> Any:
        """Return what a version's lineage.json says; raises InputError where it is missing or damaged."""

    @abstractmethod
    def add_version(self, model: Path, weights: str, config: str) -> str:
        """Copy a model folder, whose files have these SHA-256, and return its version; equal weights are the same version."""

    @abstractmethod
    def exclusive(self, wait_s: float) -> AbstractContextManager[None]:
        """Keep other promotions out, where that can be done, and clear away what a killed one left.

        Raises StepFailed where that takes too long.
        """

    @abstractmethod
    def point(self, champion: Champion, expected: Champion | None) -> bool:
        """Move the pointer in one step, where it is the expected one; tell whether it was."""

    @abstractmethod
    def append(self, entry: Entry, behind: int) -> bool:
        """Add an entry to a history that has `behind` of them; tell whether it had no more."""

    def promote(self, model: Path, proposal: Proposal, wait_s: float) -> Promotion:
        """Carry out a proposal once. A second time, by the same run, nothing changes.

        Raises InputError where the decision is not about `model`, or the run has proposed another candidate before, and
        StepFailed where the champion is not the one that the candidate was measured against.
        """
        files = model_fingerprint(model)
        for name, measured in ((WEIGHTS, proposal.weights), (CONFIG, proposal.config)):
            if files[name] != measured:
                raise InputError(
                    f"{model}: the decision was made for another candidate: its {name} has the SHA-256 {measured[:_DIGITS]}..., "
                    f"this one {files[name][:_DIGITS]}...; run `cavmae compare` again"
                )
        with self.exclusive(wait_s):
            while (done := self._carry_out(model, proposal)) is None:
                pass
            return done

    def _carry_out(self, model: Path, proposal: Proposal) -> Promotion | None:
        """Do what a proposal says; None where another run came between, and everything is to be looked at anew."""
        # in this order: what is told of behind this history then has moved a pointer that is read here as it was before
        history = self.history()
        champion = self.read_champion()
        history = self.complete(champion, history)
        now = champion.version if champion else None
        earlier = next((entry for entry in history if entry.run_id == proposal.run_id), None)
        if earlier is not None:
            if earlier.candidate != proposal.version:
                raise InputError(
                    f"run {proposal.run_id} has brought candidate {earlier.candidate} before, now it brings "
                    f"{proposal.version}; give another run_id"
                )
            return Promotion(earlier, now, changed=False)
        _check_champion(champion, proposal)
        if not proposal.promote:
            entry = _kept(proposal, now)
            return Promotion(entry, now, changed=True) if self.append(entry, len(history)) else None
        to = self.add_version(model, proposal.weights, proposal.config)
        pointer = _pointer(proposal, now)
        if not self.point(pointer, champion):
            return None
        return Promotion(self.tell(entry_of(pointer), history), to, changed=True)

    def complete(self, champion: Champion | None, history: list[Entry]) -> list[Entry]:
        """Tell of a promotion that was killed between pointer and history; return the history with it."""
        if champion is None:
            return history
        deadline = time.monotonic() + self.patience_s
        while not (told := champion.run_id in [entry.run_id for entry in _moves(history)]):
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)
            history = self.history()
        if told:
            return history
        self.tell(entry_of(champion, late=True), history)
        return self.history()

    def tell(self, entry: Entry, history: list[Entry]) -> Entry:
        """Append the entry of a move behind what others wrote meanwhile; return what tells of it, which may be theirs."""
        while True:
            there = next((old for old in _moves(history) if old.run_id == entry.run_id), None)
            if there is not None:
                return there
            if self.append(entry, len(history)):
                return entry
            history = self.history()


def _moves(history: list[Entry]) -> list[Entry]:
    return [entry for entry in history if entry.moved]


def _check_champion(champion: Champion | None, proposal: Proposal) -> None:
    present = champion.sha256 if champion else None
    if present != proposal.champion:
        measured, there = (version_of(sha256) if sha256 else "none" for sha256 in (proposal.champion, present))
        raise StepFailed(
            f"the decision was made against champion {measured}, the champion now is {there}: run `cavmae compare` again"
        )


def _pointer(proposal: Proposal, before: str | None) -> Champion:
    return Champion(
        version=proposal.version,
        sha256=proposal.weights,
        run_id=proposal.run_id,
        decision=proposal.decision,
        from_version=before,
        reason=proposal.reason,
    )


def entry_of(pointer: Champion, late: bool = False) -> Entry:
    """What the history tells of the move that made this pointer."""
    return Entry(
        time=_now(),
        who=user_name(),
        run_id=pointer.run_id,
        decision=pointer.decision,
        outcome=pointer.outcome,
        candidate=pointer.version,
        from_version=pointer.from_version,
        to_version=pointer.version,
        reason=pointer.reason,
        late=late,
    )


def _kept(proposal: Proposal, champion: str | None) -> Entry:
    return Entry(
        time=_now(),
        who=user_name(),
        run_id=proposal.run_id,
        decision=proposal.decision,
        outcome="kept",
        candidate=proposal.version,
        from_version=champion,
        to_version=champion,
        reason=proposal.reason,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
