"""The line from a model back to the first weights, as its lineage tells it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cavmae.errors import InputError
from cavmae.models.files import LINEAGE
from cavmae.models.registry import Sha256
from cavmae.params import first_problem
from cavmae.storage import read_json

_LONGEST = 1000  # steps; a model is retrained from the champion before it, again and again


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Code(_Read):
    """Which code made it."""

    commit: str | None = Field(default=None, pattern=r"\A[0-9a-f]{40}([0-9a-f]{24})?\z")
    clean: bool | None = None
    sha256: Sha256


class Parent(_Read):
    """A model that another was made from: hashes of its files, and its own lineage."""

    files: dict[str, Sha256]
    lineage: dict[str, Any]


class Lineage(_Read):
    """What an audit reads of lineage.json."""

    step: str
    params: dict[str, Any]
    code: Code
    packages: dict[str, str] = {}
    image: str | None = None
    dataset: dict[str, Sha256] | None = None
    checkpoint: dict[str, Any] | None = None
    epochs: dict[str, Sha256] = {}
    metrics: Sha256 | None = None
    parents: dict[str, Parent] = {}


@dataclass(frozen=True)
class Link:
    """One model of the line: how it is called here, what its child says of its files (None: the audited one), its lineage."""

    name: str
    files: dict[str, str] | None
    lineage: Lineage


def read_line(model: Path) -> list[Link]:
    """Return the model and its ancestors, the model first; raises InputError where lineage.json is none."""
    path = model / LINEAGE
    return list(_walk(str(model), None, read_json(path), path))


def parse_line(document: Any, where: str) -> list[Link]:
    """Return the model and its ancestors from a lineage that was read at `where`; raises InputError where it is none."""
    return list(_walk(where, None, document, Path(where)))


def _walk(name: str, files: dict[str, str] | None, document: Any, path: Path) -> Iterator[Link]:
    waiting = [(name, files, document)]
    for _ in range(_LONGEST):
        name, files, document = waiting.pop(0)
        try:
            lineage = Lineage.model_validate(document)
        except ValidationError as error:
            raise InputError(f"{path}: the lineage of {name} is damaged: {first_problem(error)}") from None
        yield Link(name, files, lineage)
        for parent in lineage.parents.values():
            step = parent.lineage.get("step")
            waiting.append((f"the model of {step if isinstance(step, str) else 'an unknown step'}", parent.files, parent.lineage))
        if not waiting:
            return
    raise InputError(f"{path}: names more than {_LONGEST} ancestors")
