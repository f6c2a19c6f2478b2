"""`-p key=value`: the words that a person gives for the fields of a pipeline's form, checked before anything starts."""

import inspect
import json
import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from cavmae.errors import InputError

_TRUTH = {"true": True, "false": False}
_WANTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a JSON list",
    dict: "a JSON object",
}
_EXACT = 2**53  # Kubeflow keeps every number as a double


def parse_arguments(words: Sequence[str], kinds: dict[str, type], pipeline: str) -> dict[str, Any]:
    """Return `{field: value}` of words `key=value`; raises InputError for an unknown field or a value of another type."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"-p {word}: give it as key=value, for example -p epochs=3")
        if name not in kinds:
            near = get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise InputError(f"-p {word}: {pipeline} has no field {name!r}{hint} its fields: {', '.join(kinds)}")
        if name in found:
            raise InputError(f"-p {word}: {name!r} was given twice")
        found[name] = _value(text, kinds[name], word)
    return found


def kinds_of(function: Callable[..., Any]) -> dict[str, type]:
    """Return the type of each field of a pipeline function."""
    return {name: parameter.annotation for name, parameter in inspect.signature(function).parameters.items()}


def _value(text: str, kind: type, word: str) -> Any:
    try:
        value = _read(text, kind)
    except (ValueError, KeyError, RecursionError):
        raise InputError(f"-p {word}: is no value for this field, which wants {_WANTED[kind]}") from None
    return value


def _read(text: str, kind: type) -> Any:
    """The value that a text stands for; raises ValueError or KeyError where it stands for none of that type."""
    if kind is str:
        return text
    if kind is bool:
        return _TRUTH[text.strip().lower()]
    if kind in (int, float):
        number: int | float = kind(text)
        if "_" in text or not math.isfinite(number) or (kind is int and abs(number) > _EXACT):
            raise ValueError(text)
        return number
    value = json.loads(text, parse_constant=_refuse)
    if not isinstance(value, kind):
        raise ValueError(text)
    return value


def _refuse(constant: str) -> None:
    """NaN and infinity are no JSON, whatever Python says."""
    raise ValueError(constant)
