"""A version of the data set, wherever it is kept: a folder, an object of a DVC remote, or what a git revision's dvc.lock names.

DVC itself is not needed: its lock file says which objects make a version, and they lie in its cache or on a remote.
"""

import configparser
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cavmae.dvc_objects import DvcObject, object_place
from cavmae.errors import InputError
from cavmae.git import git
from cavmae.locations import StoredFolder
from cavmae.params import YAML_ERRORS
from cavmae.stores import is_remote

CLIPS_FILE, QUARANTINE_FILE = "clips.parquet", "quarantine.parquet"
_LOCK = "dvc.lock"
_LARGEST = 8 << 30  # bytes of a table; that of two million clips takes a twentieth


class NoLock(InputError):
    """A revision has no dvc.lock."""


@contextmanager
def version_folder(version: str, tracked: str = "data/validated") -> Iterator[Path]:
    """Yield a folder with the clips' and the quarantine's table of a version.

    `version` is a folder of this machine, s3://bucket/prefix, the object of a folder on a DVC remote, or a git revision of the
    repository that the current folder lies in, whose dvc.lock names the content of the folder `tracked`. Raises InputError where
    there is no such version, or its content can be found nowhere.
    """
    if not is_remote(version) and Path(version).is_dir():
        yield Path(version)
        return
    known = is_remote(version) or DvcObject.at(version) is not None
    folder = StoredFolder(version) if known else tracked_folder(version, tracked)
    with tempfile.TemporaryDirectory(prefix="cavmae-") as place:
        for name in (CLIPS_FILE, QUARANTINE_FILE):
            file = folder.find(name)
            if file is not None:
                file.fetch(Path(place) / name, _LARGEST)
            elif name == CLIPS_FILE:
                raise InputError(f"{version}: holds no {CLIPS_FILE}; name a data set that `validate` or `ingest` wrote")
        yield Path(place)


def revisions() -> list[tuple[str, str]]:
    """Return the commits of all branches and tags that changed dvc.lock here, with their times, the newest first."""
    # without --full-history, git passes over a branch whose changes a merge did not take
    found = git("log", "--all", "--full-history", "--format=%H%x09%cI", "--", _LOCK)
    return [(commit, time) for commit, _, time in (line.partition("\t") for line in (found or "").splitlines() if line)]


def history_gap() -> str | None:
    """Return why git's history cannot be looked at as a whole, None where it can, and where there is no repository."""
    shallow = git("rev-parse", "--is-shallow-repository")
    if shallow == "true":
        return "this clone has only its last part; run `git fetch --unshallow`"
    if shallow is None and any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        return "git is not there or refuses to read it; `git log` says why"
    return None


def locked_outputs(revision: str) -> dict[str, str]:
    """Return the MD5 of every output that a revision's dvc.lock names.

    Raises NoLock where it has none, and InputError where that cannot be read.
    """
    lock = _lock_at(revision)
    stages = lock.get("stages") if isinstance(lock, dict) else None
    found: dict[str, str] = {}
    for stage in stages.values() if isinstance(stages, dict) else ():
        outputs = stage.get("outs") if isinstance(stage, dict) else None
        for output in outputs if isinstance(outputs, list) else ():
            if isinstance(output, dict) and isinstance(output.get("path"), str) and isinstance(output.get("md5"), str):
                found[output["path"]] = output["md5"]
    return found


def _lock_at(revision: str) -> Any:
    commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise InputError(f"{revision!r}: no folder, address or git revision of that name")
    text = git("show", f"{commit}:./{_LOCK}")
    if text is None:
        raise NoLock(f"revision {revision} has no {_LOCK} here; commit it after `dvc repro`")
    try:
        return yaml.safe_load(text)
    except YAML_ERRORS:
        raise InputError(f"revision {revision}: its {_LOCK} is not valid YAML") from None


def tracked_folder(revision: str, tracked: str) -> StoredFolder:
    """Return a folder that a revision's dvc.lock names, from DVC's cache or a remote; raises InputError where neither has it."""
    md5 = locked_outputs(revision).get(tracked)
    if md5 is None:
        raise InputError(f"revision {revision}: its {_LOCK} names no {tracked}")
    problems = []
    for place in _places():
        try:
            return StoredFolder(object_place(f"{place}/files/md5", md5))
        except InputError as error:
            problems.append(str(error))
    raise InputError(
        f"revision {revision}: its {tracked} ({md5}) lies neither in DVC's cache nor on a remote that can be read; run "
        f"`dvc fetch --all-commits {tracked}` ({problems[-1] if problems else 'no cache or remote is set'})"
    )


def _places() -> Iterator[str]:
    """DVC's cache, then its remotes, the default one first."""
    root = Path(git("rev-parse", "--show-toplevel") or ".")
    here = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".dvc").is_dir()), root)
    settings = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        settings.read([here / ".dvc" / "config", here / ".dvc" / "config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InputError(f"{here / '.dvc' / 'config'}: cannot be read ({str(error).splitlines()[0]})") from None
    yield _absolute(settings.get("cache", "dir", fallback="cache"), here)
    remotes = {name.strip("'\"")[7:].strip('" '): section.get("url") for name, section in settings.items() if "remote" in name}
    default = settings.get("core", "remote", fallback=None)
    for name in sorted(remotes, key=lambda name: (name != default, name)):
        if url := remotes[name]:
            yield _absolute(url, here)


def _absolute(place: str, project: Path) -> str:
    """DVC takes what is relative from where its configuration lies."""
    return place.rstrip("/") if "://" in place else os.path.normpath(project / ".dvc" / place)
