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
    filters = {"decibels": lambda gain: "<b>"}
    clip = {"name": "a", "path": "<i>", "seconds": 1.0, "loss_a": 1.0, "loss_v": 1.0, "gain": 0.5}
    values = {"mask_ratio_a": 0.5, "mask_ratio_v": 0.5, "norm_pix_loss": False, "griffin_lim_iterations": 1, "seed": 0}
    shown = {"clips": [clip], "failed": [], "mean": clip, "model": {"path": "m"}, "mask_mode": "time", **values}
    page = render_page("inpainting.html.j2", filters, page=shown, figure="f.png", sounds={"masked": "m"}, pattern="")
    assert "&lt;b&gt;" in page and "&lt;i&gt;" in page and "<b>" not in page
    with pytest.raises(jinja2.UndefinedError):
        render_page("gallery.html.j2", retrieval=[])


def test_a_page_is_written_whole_with_what_utf8_cannot_hold_replaced(tmp_path: Path) -> None:
    write_page(tmp_path / "below" / "page.html", "bad \udcff name")
    assert (tmp_path / "below" / "page.html").read_text(encoding="utf-8") == "bad ? name"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["page.html"]
