"""Pages from templates: text stays text, and what is no text does not cost the page."""

from pathlib import Path

import jinja2
import pytest

from cavmae.evaluation.gallery import Gallery
from cavmae.evaluation.page import render_page, write_page


def test_values_are_escaped_and_missing_ones_are_an_error() -> None:
    gallery = Gallery("test", 1, "<i>&models</i>", 0.95, False, {}, {}, {})
    page = render_page("gallery.html.j2", gallery=gallery, retrieval=[], sections=[], hit_sound_s=4.0)
    assert "&lt;i&gt;&amp;models&lt;/i&gt;" in page and "<i>&models" not in page
    with pytest.raises(jinja2.UndefinedError):
        render_page("gallery.html.j2", retrieval=[])


def test_a_page_is_written_whole_with_what_utf8_cannot_hold_replaced(tmp_path: Path) -> None:
    write_page(tmp_path / "below" / "page.html", "bad \udcff name")
    assert (tmp_path / "below" / "page.html").read_text(encoding="utf-8") == "bad ? name"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["page.html"]
