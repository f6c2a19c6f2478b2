"""A dvc.lock and a git repository around it, written without DVC."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml


def md5(place: Path) -> str:
    """The MD5 of a file or folder, as DVC counts it."""
    if place.is_file():
        return hashlib.md5(place.read_bytes()).hexdigest()
    paths = sorted((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.relative_to(place).parts)
    rows = [{"md5": md5(path), "relpath": path.relative_to(place).as_posix()} for path in paths]
    return hashlib.md5(json.dumps(rows).encode()).hexdigest() + ".dir"


def stage(command: str, *outputs: str, **params: Any) -> dict[str, Any]:
    """A stage with outputs as they are now, and sections of params.yaml."""
    told: dict[str, Any] = {"cmd": command, "outs": [{"path": path, "md5": md5(Path(path))} for path in outputs]}
    return told | ({"params": {"params.yaml": params}} if params else {})


def lock(**stages: dict[str, Any]) -> None:
    """Write dvc.lock into the current folder."""
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def commit_lock() -> str:
    """Commit dvc.lock, and return the commit."""
    environment = dict(os.environ)
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.org"}
    for words in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "lock"]):
        subprocess.run(["git", *words], check=True, env=environment)
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
