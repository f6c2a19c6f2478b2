"""What dvc.lock says of files and folders, held against them as they are; DVC is not needed for it."""

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from cavmae.audit.findings import Audit
from cavmae.dvc_objects import object_place
from cavmae.errors import InputError
from cavmae.git import git
from cavmae.params import YAML_ERRORS
from cavmae.storage import md5_file
from cavmae.text_tables import counted

_LOCK = Path("dvc.lock")
_CACHE = ".dvc/cache/files/md5"


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.lock: its command, the MD5 of each output by path, parameters by file, and which dvc.lock says so."""

    command: str
    outputs: dict[str, str]
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    by: str = str(_LOCK)


def read_stages(audit: Audit) -> list[Stage]:
    """Return the stages of dvc.lock, and those that the committed one has besides; what is lost or damaged is a finding."""
    here: dict[str, Stage] = {}
    damaged = False
    commit = git("rev-parse", "HEAD")
    text = git("show", f"HEAD:./{_LOCK}") if commit is not None else None
    if _LOCK.is_file():
        content = _LOCK.read_bytes()
        try:
            here = _parse(content, f"{_LOCK}, {_known(content, commit, text)}")
        except InputError as error:
            damaged = True
            audit.add("versions", str(_LOCK), "broken", str(error))
    if commit is None or text is None:
        return list(here.values())
    try:
        committed = _parse(text.encode(), f"{_LOCK} of commit {commit[:12]}")
    except InputError:
        return list(here.values())
    more, whole = _lost(here, committed)
    if more and not damaged:
        what = counted(whole, "stage") if whole else counted(sum(len(stage.outputs) for stage in more), "output")
        audit.add("versions", str(_LOCK), "differs", f"lacks {what} that commit {commit[:12]} has; these are looked at as well")
    return [*here.values(), *more]


def _parse(content: bytes, by: str) -> dict[str, Stage]:
    """The stages of a dvc.lock by name; raises InputError for what is none."""
    try:
        return {
            str(name): Stage(
                str(stage.get("cmd", "")),
                {str(out["path"]): str(out["md5"]) for out in stage.get("outs") or ()},
                {str(file): dict(values) for file, values in (stage.get("params") or {}).items()},
                by,
            )
            for name, stage in yaml.safe_load(content)["stages"].items()
        }
    except (*YAML_ERRORS, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"is no dvc.lock ({str(error).splitlines()[0]}); restore it") from None


def _lost(here: dict[str, Stage], committed: dict[str, Stage]) -> tuple[list[Stage], int]:
    """What the committed dvc.lock has and the one here lacks, and how many stages are lost as a whole."""
    named = {output for stage in here.values() for output in stage.outputs}
    more, whole = [], 0
    for name, stage in committed.items():
        outputs = {output: md5 for output, md5 in stage.outputs.items() if output not in named}
        if name not in here:
            whole += 1
            more.append(replace(stage, outputs=outputs))
        elif outputs:
            more.append(replace(stage, outputs=outputs, params={}))
    return more, whole


def check_outputs(audit: Audit, stages: list[Stage]) -> None:
    """Work out the MD5 of every output that is here, and name the files that differ where DVC's cache tells which."""
    for stage in stages:
        for output, md5 in stage.outputs.items():
            place = Path(output)
            if not place.exists():
                audit.add("versions", output, "claimed", "dvc.lock names it, and it is not here; `dvc pull` brings it")
                continue
            found, files = _md5_of(place)
            if found == md5:
                audit.add("versions", output, "proved", stage.by)
                continue
            for name, why in _changes(files, md5) or [("", "its content is not what dvc.lock names")]:
                audit.add("versions", f"{output}/{name}" if name else output, "broken", why)


def voucher(stages: list[Stage], folder: Path) -> str | None:
    """Which dvc.lock names the folder, or one that it lies in, with the content that it has now; None where none does."""
    for stage in stages:
        for output, md5 in stage.outputs.items():
            place, inside = Path(output), Path(os.path.realpath(folder))
            if inside.is_relative_to(os.path.realpath(place)) and place.is_dir() and _md5_of(place)[0] == md5:
                return stage.by
    return None


def _md5_of(place: Path) -> tuple[str, dict[str, str]]:
    """The MD5 as DVC counts it, and for a folder that of its files."""
    if place.is_file():
        return md5_file(place), {}
    paths = sorted((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.relative_to(place).parts)
    files = {path.relative_to(place).as_posix(): md5_file(path) for path in paths}
    rows = [{"md5": md5, "relpath": name} for name, md5 in files.items()]
    text = json.dumps(rows, sort_keys=True)
    return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}.dir", files


def _changes(files: dict[str, str], md5: str) -> list[tuple[str, str]]:
    """Which files of a folder are not what its list in DVC's cache names."""
    try:
        rows: Any = json.loads(Path(object_place(_CACHE, md5)).read_bytes())
        wanted = {str(row["relpath"]): str(row["md5"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return []
    changed = [(name, "its content is not what dvc.lock names") for name in files if wanted.get(name) not in (None, files[name])]
    gone = [(name, "is missing, dvc.lock names it") for name in wanted if name not in files]
    return sorted([*changed, *gone, *((name, "is not in what dvc.lock names") for name in files if name not in wanted)])


def _known(content: bytes, commit: str | None, committed: str | None) -> str:
    """Whether the commit has dvc.lock as it is here; its text is compared, since `git status` can be told not to look."""
    if commit is None:
        return "in no git repository"
    same = committed is not None and committed.encode() == content.strip(b"\n")
    return f"as in commit {commit[:12]}" if same else "not committed"
