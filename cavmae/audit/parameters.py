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
from cavmae.params import read_section


def check_parameters(audit: Audit, line: list[Link], path: Path, stages: list[Stage]) -> None:
    """Compare the sections that the line's steps used; what a stage's command sets stands over the file.

    Of several steps of one name the one next to the model counts: a champion that was trained on has parameters of its time.
    """
    if not path.is_file():
        audit.add("parameters", str(path), "claimed", "is not here")
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
        different = [key for key in sorted(used.keys() | now.keys()) if not _same(used.get(key), now.get(key))]
        for key in different:
            audit.add("parameters", f"{step}.{key}", "differs", f"{path} says {now.get(key)!r}, the model had {used.get(key)!r}")
        if not different:
            audit.add("parameters", f"{step} in {path}", "proved", f"{len(used)} values are the same")


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
