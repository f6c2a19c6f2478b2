"""The gallery as a contact sheet: one picture for each direction, a row for each query."""

import math
import unicodedata
from bisect import bisect
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cavmae.dataset.records import decode_frame
from cavmae.evaluation.figures import INK, spectrogram_image
from cavmae.evaluation.gallery import SHOWN_HITS, ClipView, Gallery
from cavmae.evaluation.gallery_words import TITLES, figures_line, named, rank_words

_TILE, _SOUND, _GAP, _MARGIN = 132, 40, 14, 28  # pixels: picture, spectrogram below it, between tiles, around them
_LINE, _HEAD = 16, 92
_ROW = _TILE + _SOUND + 3 * _LINE + 32
_QUERY = _TILE + 3 * _GAP  # the query stands apart from its hits
_NARROWEST = 640
_LONGEST = 400  # letters of a name that are looked at
_RIGHT, _RULE, _SOFT = "#2a8f6a", "#dfe4ea", "#5b6673"


def draw_sheet(gallery: Gallery, way: str) -> Image.Image:
    """Return the sheet of one direction as an RGB picture: the query on the left, its nearest clips beside it.

    The query's own clip, where it is among the hits, is framed in green; labels that a hit shares with the query are green.
    """
    searches = gallery.searches[way]
    hits = min(SHOWN_HITS, gallery.clips)
    width = max(2 * _MARGIN + _QUERY + hits * (_TILE + _GAP) - _GAP, _NARROWEST)
    sheet = Image.new("RGB", (width, _HEAD + _ROW * len(searches) + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_MARGIN, 20), TITLES[way], 22, INK, width - _MARGIN)
    _write(draw, (_MARGIN, 52), f"{gallery.split} split, {gallery.clips} clips   {figures_line(gallery, way)}", 13, _SOFT, width)
    for number, search in enumerate(searches):
        top = _HEAD + number * _ROW
        draw.line((_MARGIN, top - 10, width - _MARGIN, top - 10), fill=_RULE)
        query = gallery.views[search.clip]
        _tile(sheet, query, _MARGIN, top)
        lines = [(rank_words(search, gallery.clips), INK), (named(query), _SOFT), (query.video_id, _SOFT)]
        _write_below(draw, _MARGIN, top, lines, _QUERY)
        for place, hit in enumerate(search.hits):
            left = _MARGIN + _QUERY + place * (_TILE + _GAP)
            found = gallery.views[hit.clip]
            right = hit.clip == search.clip
            _tile(sheet, found, left, top)
            if right:
                draw.rectangle((left - 5, top - 5, left + _TILE + 4, top + _TILE + _SOUND + 6), outline=_RIGHT, width=4)
            said = f"{place + 1}.  {hit.similarity:.3f}{'  right' if right else ''}"
            common = set(found.labels) & set(query.labels)
            lines = [(said, _RIGHT if right else INK), (named(found), _RIGHT if common else _SOFT), (found.video_id, _SOFT)]
            _write_below(draw, left, top, lines, _TILE + _GAP)
    return sheet


def _tile(sheet: Image.Image, view: ClipView, left: int, top: int) -> None:
    """Paste a clip's middle frame, and its spectrogram below."""
    sheet.paste(Image.fromarray(np.asarray(decode_frame({"0.jpg": view.frame}, 0, _TILE))), (left, top))
    sound = spectrogram_image(view.log_mel, _TILE).resize((_TILE, _SOUND), Image.Resampling.BILINEAR)
    sheet.paste(sound, (left, top + _TILE + 2))


def _write_below(draw: ImageDraw.ImageDraw, left: int, top: int, lines: list[tuple[str, str]], width: int) -> None:
    """Write lines of (text, colour) below a tile."""
    for number, (text, colour) in enumerate(lines):
        _write(draw, (left, top + _TILE + _SOUND + 9 + number * _LINE), text, 12, colour, left + width - 8)


def _write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: str, end: int) -> None:
    """Write one line, cut with an ellipsis where it would reach beyond `end`."""
    font = _font(size)
    text = drawable(text[:_LONGEST])

    def ends(length: int) -> int:
        return math.ceil(at[0] + draw.textlength(text[:length] + "…", font))

    if at[0] + draw.textlength(text, font) > end:
        text = text[: bisect(range(1, len(text)), end, key=ends)] + "…"
    draw.text(at, text, colour, font)


def drawable(text: str) -> str:
    """Return `text` in the letters of Pillow's own font, which comes with it on every machine: accents go, others become `?`."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in plain)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    # the plain layout: the other one draws letters as the libraries of the machine would
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
