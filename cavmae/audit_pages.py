"""`cavmae audit`: what is proved of a model, what is only claimed, and what is broken; for a person or a machine."""

from collections.abc import Iterator
from pathlib import Path

from cavmae.audit.audit import audit_model
from cavmae.audit.findings import STATES, WORDS, Audit, escaped
from cavmae.audit.usage import clip_usage
from cavmae.audit.usage_found import Usage
from cavmae.storage import to_json
from cavmae.text_tables import counted


def audit_page(
    model: Path, dataset: Path, params: Path, registry: str | None, sources: bool, as_json: bool, html: Path | None
) -> tuple[str, str | None]:
    """Return what an audit shows, and why it failed, None where it did not; write it to `html` as well where that is given."""
    audit = audit_model(model, dataset, params, registry, sources)
    if html is not None:
        from cavmae.evaluation.page import render_page, write_page

        write_page(html, render_page("audit.html.j2", audit=audit, states=STATES, words=WORDS))
    text = to_json(audit.document()).rstrip() if as_json else "\n".join(_lines(audit))
    return text, audit.failure


def usage_page(
    clip: str, dataset: Path, models: Path, registry: str | None, store: str | None, as_json: bool
) -> tuple[str, str | None]:
    """Return which versions of the data and which models a clip went into; and why that is not all, None if it is."""
    usage = clip_usage(clip, dataset, models, registry, store)
    text = to_json(usage.document()).rstrip() if as_json else "\n".join(map(escaped, _usage_lines(usage)))
    if not usage.unknown:
        return text, None
    first, more = usage.unknown[0], len(usage.unknown) - 1
    others = f", and {more} more" if more else ""
    return text, escaped(f"the answer is not complete: {first['what']}{others} could not be looked at ({first['why']})")


def _usage_lines(usage: Usage) -> Iterator[str]:
    versions = len({row["version"] for row in usage.data})
    yield f"{usage.clip}: in {counted(versions, 'version')} of the data, {counted(len(usage.models), 'model')}"
    if not usage.data and not usage.models:
        yield f"nothing that was looked at knows {usage.clip!r}: look at the spelling; name a clip by"
        yield "its id (video_id), its name, its path or its group"
    if usage.data:
        yield from ("", "versions of the data:")
    for row in usage.data:
        place = f"quarantined, {row['quarantined']}" if "quarantined" in row else f"{row['split']}, shard {row['shard']}"
        yield f"  {row['version']}  {row['video_id'] or '-'}  {place}  {row['path']}"
    if usage.models:
        yield from ("", "models whose line has it:")
    for row in usage.models:
        yield f"  {row['model']}  by {', '.join(row['steps'])}"
    if usage.unknown:
        yield from ("", "could not be looked at:")
    for one in usage.unknown:
        yield f"  {one['what']}: {one['why']}"


def _lines(audit: Audit) -> Iterator[str]:
    for state in STATES:
        found = [finding for finding in audit.findings if finding.state == state]
        if found:
            yield f"{WORDS[state]}:"
        width = min(60, max((len(finding.what) for finding in found), default=0))
        for finding in found:
            yield f"  {finding.part:<13}  {finding.what:<{width}}  {finding.detail}"
    counts = audit.counts
    yield ", ".join(f"{counts[state]} {WORDS[state]}" for state in STATES)
