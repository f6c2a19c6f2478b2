"""What an audit says of one thing."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["proved", "claimed", "differs", "broken"]
STATES: tuple[State, ...] = ("broken", "differs", "proved", "claimed")
WORDS = {"proved": "proved", "claimed": "only claimed", "differs": "differs from lineage", "broken": "broken"}


def escaped(text: str) -> str:
    """Return a text without what would move the cursor, break the line or turn the direction of writing."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


@dataclass(frozen=True)
class Finding:
    """`what` was looked at, as a part of `part`, what it is, and why one can say so."""

    part: str
    what: str
    state: State
    detail: str

    def document(self) -> dict[str, str]:
        """The finding as JSON."""
        return {"part": self.part, "what": self.what, "state": self.state, "detail": self.detail}


@dataclass
class Audit:
    """The findings about one model, in the order of the walk."""

    model: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, part: str, what: str, state: State, detail: str) -> None:
        """Add a finding; control characters, which a file's name may hold, are written as escapes."""
        self.findings.append(Finding(part, escaped(what), state, escaped(detail)))

    def compare(self, part: str, what: str, found: str, wanted: str, by: str, otherwise: State = "broken") -> bool:
        """Add what the comparison of two hashes says: proved `by` what names the wanted one, or `otherwise`; tell which."""
        same = found == wanted
        self.add(part, what, "proved" if same else otherwise, by if same else f"is {found[:12]}…, {by} says {wanted[:12]}…")
        return same

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each state."""
        found = Counter(finding.state for finding in self.findings)
        return {state: found[state] for state in STATES}

    @property
    def failure(self) -> str | None:
        """Why the audit fails, in a sentence that names the first thing; None where it does not."""
        wrong = [finding for finding in self.findings if finding.state in ("broken", "differs")]
        if not wrong:
            return None
        first = next((finding for finding in wrong if finding.state == "broken"), wrong[0])
        more = f"; {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return f"{first.what}: {WORDS[first.state]} ({first.detail}){more}"

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "model": self.model,
            "passed": self.failure is None,
            "counts": self.counts,
            "findings": [finding.document() for finding in self.findings],
        }
