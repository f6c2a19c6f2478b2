"""Self-contained HTML pages from the templates of this room: nothing is loaded from elsewhere, nothing in a name is markup."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cavmae.evaluation import tables
from cavmae.storage import write_atomic


def render_page(template: str, filters: Mapping[str, Callable[..., str]] | None = None, /, **values: Any) -> str:
    """Return the page that a template makes of `values`; text is escaped, since it comes from whoever named the files.

    `filters` are those that the template has beside `number` and `percent`; what they return is escaped as well.
    """
    environment = Environment(
        loader=PackageLoader("cavmae.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": tables.number, "percent": tables.percent, **(filters or {})}
    return environment.get_template(template).render(**values)


def write_page(path: Path, page: str) -> None:
    """Write a page atomically."""
    with write_atomic(path) as partial:
        # A file name that was not valid UTF-8 must not cost the whole page.
        partial.write_bytes(page.encode("utf-8", "replace"))
