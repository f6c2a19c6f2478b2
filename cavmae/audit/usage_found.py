"""What was found of a clip."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Usage:
    """Where a clip was found. `unknown`: what could not be looked at, and why; a request is not answered before that is empty."""

    clip: str
    data: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[dict[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return vars(self)
