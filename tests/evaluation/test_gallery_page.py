"""The gallery's page: self-contained, safe against names, with sounds where sound is the matter."""

import dataclasses
from pathlib import Path

import pytest

from cavmae.evaluation.gallery_page import render, write_gallery
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, VIDEO_TO_AUDIO
from tests.evaluation.test_gallery import some_gallery
from tests.evaluation.test_report import Page
from tests.training.tiny import same_files


@pytest.fixture(scope="module")
def text() -> str:
    return render(some_gallery())


def test_page_loads_nothing_from_outside_and_runs_nothing(text: str) -> None:
    page = Page(text)
    assert all(address.startswith(("data:image/jpeg;", "data:audio/wav;", "#")) for address in page.addresses)
    assert "default-src 'none'" in text and "url(" not in text and "://" not in text


def test_names_are_text_and_never_markup(text: str) -> None:
    page = Page(text)
    assert page.open == [] and "script" not in page.tags
    assert sum("<script>" in part for part in page.texts) > 20
    assert "Ünï→漢" in text


def test_sounds_are_those_of_the_queries_one_way_and_of_the_hits_the_other(text: str) -> None:
    gallery = some_gallery()
    for way, sounds in ((AUDIO_TO_VIDEO, 5), (VIDEO_TO_AUDIO, 25)):
        page = Page(render(dataclasses.replace(gallery, searches={way: gallery.searches[way]})))
        assert page.tags.count("audio") == sounds and page.tags.count("img") == 2 * (5 + 25)


def test_the_right_clip_is_marked_and_the_figures_stand_there(text: str) -> None:
    gallery = some_gallery()
    right = sum(one.clip in [hit.clip for hit in one.hits] for found in gallery.searches.values() for one in found)
    assert right > 0 and text.count('class="tile right"') == right
    assert f"{gallery.figures[AUDIO_TO_VIDEO]['r1']:.3f}" in text
    assert "Every place that ties" in render(dataclasses.replace(gallery, official_ties=True))


def test_a_gallery_is_a_folder_of_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_gallery(tmp_path / name, some_gallery())
    assert same_files(tmp_path / "a", tmp_path / "b") == []
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"index.html", "audio_to_video.png", "video_to_audio.png"}


def test_without_searches_there_are_the_figures_alone(tmp_path: Path) -> None:
    gallery = dataclasses.replace(some_gallery(), searches={AUDIO_TO_VIDEO: [], VIDEO_TO_AUDIO: []}, views={})
    write_gallery(tmp_path / "a", some_gallery())
    write_gallery(tmp_path / "a", gallery)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["index.html"]
    page = Page((tmp_path / "a" / "index.html").read_text())
    assert page.ids == {"figures"} and page.open == []
