"""The form of a compiled pipeline, and the values that a person gives it: checked before anything is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cavmae.errors import InputError
from pipelines.arguments import parse_arguments

_KINDS: dict[str, type] = {
    "STRING": str,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}


@dataclass(frozen=True)
class FormField:
    """One field of the form: its type, whether it may be left out, and the values that are allowed (none: any)."""

    kind: type
    optional: bool
    literals: tuple[Any, ...] = ()


def read_form(package: Path) -> dict[str, FormField]:
    """Return the fields of a compiled pipeline by name; raises InputError where the file is no compiled pipeline."""
    try:
        document = next(iter(yaml.safe_load_all(package.read_text(encoding="utf-8"))))
        inputs = document["root"].get("inputDefinitions", {}).get("parameters", {})
        return {
            name: FormField(
                _KINDS[field["parameterType"]],
                bool(field.get("isOptional", False)) or "defaultValue" in field,
                tuple(field.get("literals", ())),
            )
            for name, field in inputs.items()
        }
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError, StopIteration):
        raise InputError(f"{package}: is no compiled pipeline; make it with `python -m pipelines compile`") from None


def parse_values(given: Sequence[str], form: Mapping[str, FormField], pipeline: str) -> dict[str, Any]:
    """Return the values of `key=value` words by name; raises InputError as `parse_arguments`, and for what is missing."""
    values = parse_arguments(given, {name: field.kind for name, field in form.items()}, pipeline)
    for name, value in values.items():
        if form[name].literals and value not in form[name].literals:
            raise InputError(f"-p {name}={value}: must be one of {', '.join(map(str, form[name].literals))}")
    if missing := [name for name, field in form.items() if not field.optional and name not in values]:
        raise InputError(f"{pipeline}: give -p for {', '.join(missing)}; these fields have no default")
    return values
