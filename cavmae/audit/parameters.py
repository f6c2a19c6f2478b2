"""Parameters of the line, by value, against the parameter file as it is now."""

import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from cavmae.audit.findings import Audit
from cavmae.audit.line import Link
from cavmae.audit.locked import Stage
from cavmae.errors import InputError
from cavmae.params import read_section, read_yaml

_FILE = "params.yaml"  # what dvc.yaml's stages take their parameters from
_DATA, _FIGURES = ("ingest", "extract", "validate"), "evaluate"


def check_parameters(audit: Audit, line: list[Link], path: Path, stages: list[Stage]) -> None:
    """Compare the sections that the line's steps used; what a stage's command sets stands over the file.

    Of several steps of one name the one next to the model counts: a champion that was trained on has parameters of its time.
    """
    if not path.is_file():
        audit.add("parameters", str(path), "claimed", f"no {path} is here")
        return
    seen: set[str] = set()
    for link in line:
        step, used = link.lineage.step, link.lineage.params
        if step in seen:
            continue
        seen.add(step)
        try:
            now = read_section(step, path)
        except InputError as error:
            audit.add("parameters", f"{step} in {path}", "differs", str(error))
            continue
        now = now | _given(step, used, stages)
        _compare(audit, f"{step} in {path}", {f"{step}.{key}": (used.get(key), now.get(key)) for key in used.keys() | now.keys()})
    _check_locked(audit, line, path, stages, seen)


def _compare(audit: Audit, what: str, values: Mapping[str, tuple[Any, Any]], had: str = "the model had", by: str = "") -> None:
    """Tell of each value that the file has otherwise than it was, or that all of them are the same."""
    path = what.rpartition(" in ")[2]
    different = {key: values[key] for key in sorted(values) if not _same(*values[key])}
    for key, (used, now) in different.items():
        audit.add("parameters", key, "differs", f"{path} says {now!r}, {had} {used!r}")
    if not different:
        audit.add("parameters", what, "proved", f"{len(values)} values are the same{by}")


def _check_locked(audit: Audit, line: list[Link], path: Path, stages: list[Stage], seen: set[str]) -> None:
    """Compare what made data and figures: no lineage holds the parameters of these steps, dvc.lock does."""
    steps = set(_DATA) if any(link.lineage.dataset for link in line) else set[str]()
    if any(link.lineage.metrics for link in line):
        steps.add(_FIGURES)
    for stage in stages:
        step = _step(stage)
        locked = stage.params.get(_FILE, {})
        if step not in steps - seen or not locked:
            continue
        seen.add(step)
        try:
            document = read_yaml(path)
        except InputError as error:
            audit.add("parameters", f"{step} in {path}", "differs", str(error))
            continue
        values: dict[str, tuple[Any, Any]] = {}
        for dotted, used in locked.items():
            now = _at(document, str(dotted))
            if isinstance(used, Mapping) and isinstance(now, Mapping):
                values |= {f"{dotted}.{key}": (used.get(key), now.get(key)) for key in used.keys() | now.keys()}
            else:
                values[str(dotted)] = (used, now)
        _compare(audit, f"{step} in {path}", values, "dvc.lock has", ", by dvc.lock")


def _at(document: Mapping[Any, Any], dotted: str) -> Any:
    """What stands at a key of a parameter file; DVC names those within sections with dots."""
    value: Any = document
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _step(stage: Stage) -> str:
    """The step that a stage runs; empty where it is none of this library."""
    words = stage.command.split(maxsplit=2)
    return words[1] if len(words) > 1 and words[0] == "cavmae" else ""


def _given(step: str, used: Mapping[str, Any], stages: list[Stage]) -> dict[str, Any]:
    """What a stage of dvc.lock gives the step on its command line, where it is what the model had: one of several stages did."""
    given: dict[str, Any] = {}
    for stage in stages:
        try:
            words = shlex.split(stage.command)
        except ValueError:
            continue
        if words[:2] != ["cavmae", step]:
            continue
        for flag, value in pairwise(words):
            key = flag.removeprefix("--").replace("-", "_")
            if flag.startswith("--") and key in used and str(used[key]) == value:
                given[key] = used[key]
    return given


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    return bool(one == other)
