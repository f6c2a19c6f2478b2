"""What dvc.lock says of files and folders, held against them as they are; DVC is not needed for it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cavmae.audit.findings import Audit
from cavmae.dvc_objects import object_place
from cavmae.errors import InputError
from cavmae.git import git
from cavmae.storage import md5_file

_LOCK = Path("dvc.lock")
_CACHE = ".dvc/cache/files/md5"


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.lock: its command, and the MD5 of each output by path."""

    command: str
    outputs: dict[str, str]


def read_stages(path: Path = _LOCK) -> list[Stage]:
    """Return the stages of a dvc.lock, none where there is no such file; raises InputError for one that is damaged."""
    if not path.is_file():
        return []
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        stages = document["stages"].values()
        return [
            Stage(str(stage.get("cmd", "")), {str(out["path"]): str(out["md5"]) for out in stage.get("outs", ())})
            for stage in stages
        ]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no dvc.lock ({str(error).splitlines()[0]}); restore it") from None


def check_outputs(audit: Audit, stages: list[Stage]) -> None:
    """Work out the MD5 of every output that is here, and name the files that differ where DVC's cache tells which."""
    by = f"dvc.lock, {_known()}" if stages else ""
    for stage in stages:
        for output, md5 in stage.outputs.items():
            place = Path(output)
            if not place.exists():
                audit.add("versions", output, "claimed", "dvc.lock names it, and it is not here; `dvc pull` brings it")
                continue
            found, files = _md5_of(place)
            if found == md5:
                audit.add("versions", output, "proved", by)
                continue
            for name, why in _changes(files, md5) or [("", "its content is not what dvc.lock names")]:
                audit.add("versions", f"{output}/{name}" if name else output, "broken", why)


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


def _known() -> str:
    """Whether git keeps dvc.lock as it is here."""
    status = git("status", "--porcelain", "--", str(_LOCK))
    commit = git("rev-parse", "HEAD") if status == "" else None
    if status is None or (status == "" and commit is None):
        return "in no git repository"
    return f"as in commit {commit[:12]}" if commit is not None else "not committed"
