"""The contact sheet: a row for each query, the right clip framed, names that are only drawn."""

import dataclasses

import numpy as np
import pytest

from cavmae.evaluation.gallery_sheet import draw_sheet, drawable
from cavmae.evaluation.gallery_words import rank_words
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, WAYS
from tests.evaluation.test_gallery import some_gallery

GREEN = (0x2A, 0x8F, 0x6A)


@pytest.mark.parametrize("way", WAYS)
def test_the_right_clip_is_framed_where_it_was_found(way: str) -> None:
    gallery = some_gallery(label="dog")
    for one in gallery.searches[way]:
        pixels = np.asarray(draw_sheet(dataclasses.replace(gallery, searches={way: [one]}), way))
        green = (pixels == GREEN).all(axis=2)
        framed = green.sum(axis=0).max() > 150  # a vertical line as high as a tile
        assert framed == (one.clip in [hit.clip for hit in one.hits])


def test_a_row_more_makes_the_sheet_higher_and_the_same_gallery_the_same_sheet() -> None:
    gallery = some_gallery()
    sheet = draw_sheet(gallery, AUDIO_TO_VIDEO)
    fewer = draw_sheet(
        dataclasses.replace(gallery, searches={AUDIO_TO_VIDEO: gallery.searches[AUDIO_TO_VIDEO][:-1]}), AUDIO_TO_VIDEO
    )
    assert sheet.height > fewer.height and sheet.width == fewer.width
    assert draw_sheet(some_gallery(), AUDIO_TO_VIDEO).tobytes() == sheet.tobytes()


def test_few_clips_make_a_sheet_too() -> None:
    assert draw_sheet(some_gallery(clips=2), AUDIO_TO_VIDEO).width >= 640


def test_names_are_drawn_in_letters_that_the_font_has() -> None:
    assert drawable("Ünïcode é\n漢\udcff~") == "Unicode e???~"
    long = some_gallery(label="a very long label " * 40)
    assert draw_sheet(long, AUDIO_TO_VIDEO).size == draw_sheet(some_gallery(), AUDIO_TO_VIDEO).size


def test_words_say_why_and_where() -> None:
    one = some_gallery().searches[AUDIO_TO_VIDEO][0]
    assert rank_words(dataclasses.replace(one, kind="worst", rank=7, tied=0), 8) == "worst: rank 7 of 8"
    assert rank_words(dataclasses.replace(one, kind="random", rank=1, tied=6), 80) == "by lot: ranks 1-7 (tied) of 80"
