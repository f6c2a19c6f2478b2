"""`cavmae audit`: what is proved of a model, what is only claimed, and what is broken; for a person or a machine."""

from collections.abc import Iterator
from pathlib import Path

from cavmae.audit.audit import audit_model
from cavmae.audit.findings import STATES, WORDS, Audit
from cavmae.storage import to_json, write_atomic


def audit_page(
    model: Path, dataset: Path, params: Path, registry: str | None, sources: bool, as_json: bool, html: Path | None
) -> tuple[str, str | None]:
    """Return what an audit shows, and why it failed, None where it did not; write it to `html` as well where that is given."""
    audit = audit_model(model, dataset, params, registry, sources)
    if html is not None:
        _write_html(audit, html)
    text = to_json(audit.document()).rstrip() if as_json else "\n".join(_lines(audit))
    return text, audit.failure


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


def _write_html(audit: Audit, path: Path) -> None:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("cavmae.audit", "templates"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("audit.html.j2").render(audit=audit, states=STATES, words=WORDS)
    with write_atomic(path) as partial:
        partial.write_bytes(page.encode("utf-8", "replace"))
