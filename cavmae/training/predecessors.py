"""What a run was started from, kept in its work folder, so that the next one can say why it does not continue."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cavmae.errors import InputError
from cavmae.storage import read_json, write_json

log = logging.getLogger(__name__)
_STARTED = "started.json"
_SHOWN = 5


def note_start(work: Path, model: Path, inputs: Mapping[str, Any], anew: bool) -> None:
    """Keep what the run of a work folder makes, and of what. If it begins `anew` beside a stopped run for that model, say so."""
    place = str(model.resolve())
    if anew:
        _tell(work, place, inputs)
    if not (work / _STARTED).is_file():
        write_json(work / _STARTED, {"model": place, "inputs": inputs})


def _tell(work: Path, model: str, inputs: Mapping[str, Any]) -> None:
    """Tell of the newest stopped run of the same step that was to make the same model."""
    for checkpoint in sorted(work.parent.glob("*/step-*.pt"), key=_age, reverse=True):
        folder = checkpoint.parent
        if folder == work or (folder / "finished").exists():
            continue
        before = _read(folder)
        if before is None or before["model"] != model:
            continue
        different = list(_different(before["inputs"], inputs))
        more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
        log.info(
            "begins anew: the run for this model that stopped at step %d had other %s%s; to continue it give it what it had, "
            "to forget it delete %s",
            int(checkpoint.stem.removeprefix("step-")),
            ", ".join(different[:_SHOWN]),
            more,
            folder,
        )
        return


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs, in words: parameters with both values, all else by its name."""
    for name in sorted(before.keys() | now.keys() - {"params"}):
        if name != "params" and before.get(name) != now.get(name):
            yield {"packages": "versions of packages", "dataset": "data", "parents": "starting model"}.get(name, name)
    old, new = before.get("params", {}), now.get("params", {})
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} ({old.get(key)}, now {new.get(key)})"


def _read(folder: Path) -> dict[str, Any] | None:
    """What is kept of a run; None where nothing is, as of one that an older version started."""
    try:
        found = read_json(folder / _STARTED)
    except (InputError, OSError):
        return None
    whole = isinstance(found, dict) and isinstance(found.get("model"), str) and isinstance(found.get("inputs"), dict)
    return found if whole else None


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # its run is at work and has put another one in its place
        return 0.0
