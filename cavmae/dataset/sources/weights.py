"""Sampling weights as the original publishes them beside a data list: one number a line, in the order of the list's rows."""

import math
from collections.abc import Sequence
from dataclasses import replace

from cavmae.dataset.sources.candidate import Candidate
from cavmae.errors import InputError
from cavmae.stores import read_text


def with_weights(candidates: Sequence[Candidate], path: str, source: str) -> list[Candidate]:
    """Return the candidates of `source`, in its order, each with its weight; raises InputError naming the line that is wrong."""
    lines = read_text(path).split("\n")
    weights = [_weight(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(weights) != len(candidates):
        raise InputError(f"{path}: holds {len(weights)} weights, {source} {len(candidates)} rows; give one a row, in their order")
    return [replace(candidate, weight=weight) for candidate, weight in zip(candidates, weights, strict=True)]


def _weight(path: str, number: int, line: str) -> float:
    try:
        weight = float(line)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(f"{path}, line {number}: {line.strip()!r} is not a number above 0")
    return weight
