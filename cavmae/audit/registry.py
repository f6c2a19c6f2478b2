"""The registry: its pointer and history, and what it keeps of the model."""

import time
from pathlib import Path
from typing import Any

from cavmae.audit.findings import Audit
from cavmae.audit.locked import Stage, voucher
from cavmae.errors import InputError, StepFailed
from cavmae.models.files import CONFIG, LINEAGE, METRICS, WEIGHTS
from cavmae.models.lineage import COPIES, files_told
from cavmae.models.registries import open_registry
from cavmae.models.registry import Champion, Entry, Registry, version_of
from cavmae.storage import read_json, sha256_file


def check_registry(audit: Audit, model: Path, own: dict[str, str], location: str | None, stages: list[Stage]) -> None:
    """Hold the pointer against the history, and the model, whose weights and configuration are `own`, against its version.

    Of two files that differ, that of a model folder which `stages` name as it is, is the right one.
    """
    if location is None:
        return
    version = version_of(own[WEIGHTS])
    try:
        registry = open_registry(location)
        history = registry.history()
    except (InputError, StepFailed, OSError) as error:
        _add_error(audit, location, location, error)
        return
    champion, standing = None, "a champion of its history"
    try:
        champion, history = _settled(registry)
        _check_pointer(audit, location, champion, history)
        standing = "the champion" if champion is not None and champion.version == version else "an earlier champion"
    except (InputError, StepFailed, OSError) as error:
        _add_error(audit, location, location, error)
    promoted = {entry.candidate for entry in history if entry.outcome == "promoted"}
    if version not in promoted and (champion is None or champion.version != version):
        audit.add("registry", f"{location}, version {version}", "claimed", "was never promoted there")
        return
    try:
        folder = registry.model_folder(version)
        kept = {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    except (InputError, StepFailed, OSError) as error:
        _add_error(audit, f"{location}, version {version}", location, error)
        return
    by = f"{location}, {standing}"
    damaged = _check_version(audit, folder, version, kept)
    for name in (WEIGHTS, CONFIG, METRICS):
        if name in kept and name not in damaged and (model / name).is_file():
            ours = own.get(name) or sha256_file(model / name)
            _compare(audit, model / name, ours, folder / name, kept[name], by, stages)
    if LINEAGE in kept and LINEAGE not in damaged:
        _check_kept_lineage(audit, model / LINEAGE, folder / LINEAGE, kept[LINEAGE], by, stages)


def _settled(registry: Registry) -> tuple[Champion | None, list[Entry]]:
    """Pointer and history; a promotion that is under way moves the one before it writes the other, and is waited for."""
    found = registry.read_champion(), registry.history()
    if _contradiction(*found) is not None:
        time.sleep(registry.patience_s)
        found = registry.read_champion(), registry.history()
    return found


def _contradiction(champion: Champion | None, history: list[Entry]) -> str | None:
    if champion is None:
        return None  # a history that tells of one is an error when the pointer is read
    last = next((entry for entry in reversed(history) if entry.moved), None)
    if last is None:
        return f"points to {champion.version}, and no history tells how that became the champion"
    if (last.to_version, last.run_id, last.outcome) != (champion.version, champion.run_id, champion.outcome):
        return (
            f"points to {champion.version} by run {champion.run_id}, the history's last move is to {last.to_version} "
            f"by run {last.run_id}"
        )
    if (last.decision, last.from_version) != (champion.decision, champion.from_version):
        return f"does not name the decision or the champion before it that the history names for run {last.run_id}"
    return None


def _check_pointer(audit: Audit, location: str, champion: Champion | None, history: list[Entry]) -> None:
    if champion is not None:
        problem = _contradiction(champion, history)
        said = problem or f"{champion.version}, as the last promotion or rollback in the history has it"
        audit.add("registry", f"{location.rstrip('/')}/champion.json", "proved" if problem is None else "broken", said)


def _add_error(audit: Audit, otherwise: str, location: str, error: Exception) -> None:
    """An error of the registry names its file first, where it is about one."""
    place, colon, why = str(error).partition(": ")
    named = colon and place.startswith(location.rstrip("/"))
    audit.add("registry", place if named else otherwise, "broken", why if named else str(error))


def _check_version(audit: Audit, folder: Path, version: str, kept: dict[str, str]) -> set[str]:
    """Tell of the version's own files that are not what its name and its lineage say; return their names."""
    wrong: dict[str, str] = {name: "is missing" for name in (WEIGHTS, CONFIG, LINEAGE) if name not in kept}
    if WEIGHTS in kept and version_of(kept[WEIGHTS]) != version:
        wrong[WEIGHTS] = f"is {kept[WEIGHTS][:12]}…, and the name of a version is the beginning of its weights' SHA-256"
    lineage = _read_or_none(folder / LINEAGE) if LINEAGE in kept else None
    if LINEAGE in kept and not isinstance(lineage, dict):
        wrong[LINEAGE] = "is not valid JSON, or no lineage"
    for name, wanted in files_told(lineage).items():
        if name in kept and kept[name] != wanted:
            wrong.setdefault(name, f"is {kept[name][:12]}…, the lineage beside it says {str(wanted)[:12]}…")
    for name, why in wrong.items():
        audit.add("registry", str(folder / name), "broken", why)
    return set(wrong)


def _compare(audit: Audit, path: Path, ours: str, kept: Path, theirs: str, by: str, stages: list[Stage]) -> None:
    """Of two that differ, the registry's is the wrong one where dvc.lock vouches for the model's."""
    vouched = None if ours == theirs else voucher(stages, path.parent)  # reads the whole folder
    if vouched is not None:
        audit.add("registry", str(kept), "broken", f"is {theirs[:12]}…, {path} is {ours[:12]}…, as {vouched} names it")
    else:
        audit.compare("registry", str(path), ours, theirs, by)


def _check_kept_lineage(audit: Audit, path: Path, kept: Path, theirs: str, by: str, stages: list[Stage]) -> None:
    """The model may have been promoted before or after it was packaged: the one lineage then stands within the other."""
    ours = sha256_file(path)
    if ours != theirs:
        here, there = _read_or_none(path), _read_or_none(kept)
        if there is not None and there in _copied(here):
            audit.add("registry", str(path), "proved", f"{by}, but for the last step")
            audit.add("registry", f"{path}, step {here['step']}", "claimed", f"{by} is the model before it")
            return
        if here is not None and here in _copied(there):
            audit.add("registry", str(path), "proved", f"{by}, a copy of it")
            return
    _compare(audit, path, ours, kept, theirs, by, stages)


def _read_or_none(path: Path) -> Any:
    try:
        return read_json(path)
    except InputError:
        return None


def _copied(lineage: Any) -> list[Any]:
    """The lineages of the models that a lineage's last step handed on as they were."""
    if not isinstance(lineage, dict) or lineage.get("step") not in COPIES or not isinstance(lineage.get("parents"), dict):
        return []
    return [parent.get("lineage") for parent in lineage["parents"].values() if isinstance(parent, dict)]
