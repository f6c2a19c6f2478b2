"""`cavmae data diff`: what became of the clips between two versions, for a person or a machine."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from cavmae.dataset.difference import KINDS, Difference, difference
from cavmae.dataset.versions import version_folder
from cavmae.storage import to_json

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
