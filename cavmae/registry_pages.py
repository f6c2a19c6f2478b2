"""`cavmae history` and `cavmae rollback`: what a registry went through, and the way back."""

import uuid

from cavmae.errors import InputError
from cavmae.models.registries import open_registry
from cavmae.models.registry import Champion, Entry, Promotion, Registry
from cavmae.models.rollback import roll_back
from cavmae.storage import to_json
from cavmae.text_tables import aligned

_HEADINGS = ("", "time", "what", "version", "before", "run", "who", "reason")


def history_page(location: str, as_json: bool) -> str:
    """Return the registry's history, the oldest first, with a star at what made the present champion; or as JSON.

    Raises InputError where nothing is there, or something is damaged.
    """
    registry = open_registry(location)
    champion, history = registry.read_champion(), registry.history()
    if champion is None and not history:
        raise InputError(f"{location}: holds no registry yet; `cavmae promote` makes one, --registry names another")
    if as_json:
        entries = [entry.model_dump(mode="json") for entry in history]
        return to_json({"champion": champion.model_dump(mode="json") if champion else None, "history": entries}).rstrip()
    rows = [_HEADINGS, *(_row(entry, champion) for entry in history)]
    lines = aligned(rows)
    if champion is not None and champion.run_id not in [entry.run_id for entry in history]:
        lines.append(f"run {champion.run_id} has made {champion.version} the champion, and has yet to tell of it here")
    return "\n".join(lines)


def _row(entry: Entry, champion: Champion | None) -> tuple[str, ...]:
    present = champion is not None and entry.moved and entry.run_id == champion.run_id
    return (
        "*" if present else "",
        entry.time,
        entry.outcome.replace("_", " ") + (", told late" if entry.late else ""),
        entry.candidate,
        entry.from_version or "-",
        entry.run_id,
        entry.who,
        entry.reason,
    )


def rollback_page(location: str, to: str | None, reason: str, run_id: str | None, wait_s: float) -> str:
    """Roll the registry back, see `roll_back`; return what was done, in a sentence."""
    registry: Registry = open_registry(location)
    if registry.read_champion() is None and not registry.history():  # before a lock makes a folder of a mistyped name
        raise InputError(f"{location}: holds no registry yet, so there is nothing to go back from")
    done = roll_back(registry, to, run_id or f"rollback-{uuid.uuid4().hex[:12]}", reason, wait_s)
    return _said(done)


def _said(done: Promotion) -> str:
    entry = done.entry
    if not done.changed:
        return f"nothing changed: run {entry.run_id} has rolled back to {entry.to_version} before, champion is {done.champion}"
    return f"rolled back to {entry.to_version} from {entry.from_version}: {entry.reason}"
