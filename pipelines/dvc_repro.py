"""`python -m pipelines.dvc_repro …` is `dvc repro …` after whatever was killed before, without a step by hand.

DVC writes dvc.lock and .dvc/tmp/rwlock in place, so that one that is killed meanwhile leaves a part of a file and refuses to
start the next time; it takes any process that has the number of a killed one for that one; and it fails where another is at
work. This clears away the first, sees through the second and waits for the third. Then it becomes `dvc repro`.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cavmae.params import YAML_ERRORS

_POLL_S = 0.5


def main(arguments: Sequence[str], root: Path = Path()) -> None:
    """Make `root` ready and replace this process by `dvc repro ARGUMENTS`."""
    make_ready(root)
    os.execvp("dvc", ["dvc", "repro", *arguments])  # noqa: S606


def make_ready(root: Path) -> None:
    """Return when no DVC is at work in `root` and what killed ones left there is mended."""
    folder = root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    said = False
    while True:
        # DVC holds this lock while it plans and takes notes, and is found in rwlock while a stage runs
        with (folder / "lock").open("a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            working = _working(folder / "rwlock")
            if not working:
                (folder / "rwlock").unlink(missing_ok=True)
                _mend(root / "dvc.lock", folder / "dvc.lock.broken")
                return
        if not said:
            said = True
            sys.stderr.write(f"dvc is at work here already (process {working[0]}); waiting for its end\n")
        time.sleep(_POLL_S)


def _working(path: Path) -> list[int]:
    """The DVC processes that a file `rwlock` names and that live, without those whose number another program has now."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = [
            *document.get("write", {}).values(),
            *(entry for readers in document.get("read", {}).values() for entry in readers),
        ]
        numbers = {int(entry["pid"]) for entry in entries}
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):  # half of a file
        return []
    return sorted(number for number in numbers if _is_dvc(number))


def _is_dvc(number: int) -> bool:
    if number == os.getpid():
        return False
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return False
    except OSError:  # not to be known: it may be one
        return True
    return any(Path(os.fsdecode(word)).name == "dvc" for word in words[:3])


def _mend(path: Path, aside: Path) -> None:
    """Put a dvc.lock aside that DVC would not read. Stages then run again, and find their own work where it is kept."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except YAML_ERRORS:
        document = None
    if _read_by_dvc(document):
        return
    path.replace(aside)
    sys.stderr.write(f"{path}: a killed dvc left only a part of it; it is now {aside}, and the stages are looked at anew\n")


def _read_by_dvc(document: Any) -> bool:
    """Whether DVC takes a parsed dvc.lock: one that was cut within a stage may still be YAML."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    try:
        COMPILED_LOCKFILE_SCHEMA(document)
    except Exception:  # whatever the schema has against it, DVC would have too
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
