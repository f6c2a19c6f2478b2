"""`cavmae data`: what became of the clips between two versions, and the version of the sources."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cavmae.dataset.difference import KINDS, Difference, difference
from cavmae.dataset.source_version import file_version, source_version
from cavmae.dataset.versions import version_folder
from cavmae.params import load_section
from cavmae.storage import sha256_json, to_json

_WORDS = {
    "added": "added",
    "removed": "removed",
    "relabelled": "other labels",
    "changed": "other content or window",
    "moved": "ANOTHER SPLIT",
    "quarantined": "newly quarantined",
    "released": "no longer quarantined",
}


def diff_page(before: str, now: str, shown: int, as_json: bool) -> str:
    """Return what became of the clips from version `before` to version `now`, at most `shown` of each kind; JSON shows all."""
    with ExitStack() as stack:
        folders = [stack.enter_context(version_folder(version)) for version in (before, now)]
        found = difference(*folders)
    return to_json(found.document()).rstrip() if as_json else "\n".join(_lines(found, before, now, shown))


def version_page(params: Path, overrides: list[str]) -> str:
    """Return 16 digits that change when any file changes that `ingest` would read with these parameters."""
    from cavmae.dataset.params import IngestParams

    given = load_section(IngestParams, "ingest", params, overrides)
    sources = {name: getattr(given, name) for name in ("source", "val_source", "test_source")}
    files = {name: getattr(given, name) for name in ("labels_csv", "weights_csv")}
    found = {name: source_version(str(place)) for name, place in sources.items() if place is not None}
    found |= {name: file_version(str(place)) for name, place in files.items() if place is not None}
    return found["source"] if found.keys() == {"source"} else sha256_json(found)[:16]


def _lines(found: Difference, before: str, now: str, shown: int) -> Iterator[str]:
    clips, quarantined = found.clips, found.quarantined
    yield f"{before} -> {now}: {clips[0]} -> {clips[1]} clips, {quarantined[0]} -> {quarantined[1]} quarantined"
    if not any(found.found.values()):
        yield "the same clips, with the same content, labels and splits"
    for kind in KINDS:
        records = found.found[kind]
        if records:
            yield f"\n{len(records)} {_WORDS[kind]}"
        yield from (f"  {_said(kind, record)}" for record in records[:shown])
        if len(records) > shown:
            yield f"  and {len(records) - shown} more; --show {len(records)} shows all, --json too"


def _said(kind: str, record: dict[str, Any]) -> str:
    name = record["video_id"] or record["path"]
    if kind in ("added", "removed"):
        return f"{name}  {record['split']}  {', '.join(record['labels']) or 'no label'}  {record['path']}"
    if kind == "relabelled":
        return f"{name}  {', '.join(record['before']) or 'no label'} -> {', '.join(record['now']) or 'no label'}"
    if kind == "changed":
        was, is_now = record["before"], record["now"]
        if was[0] != is_now[0]:
            return f"{name}  content {was[0][:12]} -> {is_now[0][:12]}"
        return f"{name}  {was[1]:g} to {was[2]:g} s -> {is_now[1]:g} to {is_now[2]:g} s"
    if kind == "moved":
        return f"{name}  {record['before']} -> {record['now']}"
    return f"{name}  {record['reason']} ({record['step']}): {record['detail']}"
