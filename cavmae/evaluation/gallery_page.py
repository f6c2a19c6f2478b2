"""The gallery as a folder: one self-contained index.html with sounds to play, and a contact sheet for each direction."""

from pathlib import Path
from typing import Any

import numpy as np

from cavmae.evaluation import tables
from cavmae.evaluation.contents import Report
from cavmae.evaluation.figures import frame_uris, sound_uri, spectrogram_image
from cavmae.evaluation.gallery import ClipView, Gallery, Search
from cavmae.evaluation.gallery_sheet import draw_sheet
from cavmae.evaluation.gallery_words import TITLES, named, rank_words
from cavmae.evaluation.page import render_page, write_page
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, WAYS
from cavmae.outputs import Written
from cavmae.storage import replace_folder

PAGE = "index.html"
_SPECTROGRAM_WIDTH = 264  # pixels, twice what it is shown at
_HIT_SOUND_S = 4.0  # of every sound that was found: the page holds dozens
_GENERATOR = b'<meta name="generator" content="cavmae retrieve">'


def _is_gallery(folder: Path) -> bool:
    page = folder / PAGE
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return _GENERATOR in file.read(1024)  # it stands in the head


WRITTEN = Written("retrieve", (PAGE, *(f"{way}.png" for way in WAYS)), _is_gallery)


def write_gallery(folder: Path, gallery: Gallery) -> None:
    """Replace `folder` by index.html and `<direction>.png` where there are searches; equal galleries give equal bytes."""
    with replace_folder(folder) as partial:
        for way, searches in gallery.searches.items():
            if searches:
                draw_sheet(gallery, way).save(partial / f"{way}.png", "PNG")
        write_page(partial / PAGE, render(gallery))


def render(gallery: Gallery) -> str:
    """Return the page as text; ids and labels are escaped."""
    report = Report("Retrieval", {gallery.split: {"retrieval": gallery.figures}}, (), gallery.split, gallery.level)
    return render_page(
        "gallery.html.j2",
        gallery=gallery,
        retrieval=tables.retrieval(report),
        sections=[_section(gallery, way) for way, searches in gallery.searches.items() if searches],
        hit_sound_s=_HIT_SOUND_S,
    )


def _section(gallery: Gallery, way: str) -> dict[str, Any]:
    by_sound = way == AUDIO_TO_VIDEO
    return {
        "id": way,
        "title": TITLES[way],
        "by_sound": by_sound,
        "rows": [_row(gallery, search, by_sound) for search in gallery.searches[way]],
    }


def _row(gallery: Gallery, search: Search, by_sound: bool) -> dict[str, Any]:
    query = gallery.views[search.clip]
    hits = []
    for hit in search.hits:
        view = gallery.views[hit.clip]
        shown = _shown(view, None if by_sound else _HIT_SOUND_S)
        common = bool(set(view.labels) & set(query.labels))
        hits.append({**shown, "similarity": hit.similarity, "right": hit.clip == search.clip, "common": common})
    whole = len(query.waveform) / query.sample_rate
    return {"query": _shown(query, whole if by_sound else None), "words": rank_words(search, gallery.clips), "hits": hits}


def _shown(view: ClipView, sound_s: float | None) -> dict[str, Any]:
    """A clip for the template; with `sound_s`, that much of its sound to play."""
    sound = None if sound_s is None else sound_uri(view.waveform[: round(sound_s * view.sample_rate)], view.sample_rate)
    return {
        "id": view.video_id,
        "labels": named(view),
        "frame": frame_uris([view.frame])[0],
        # as JPEG, a fifth of the PNG
        "spectrogram": frame_uris(np.asarray(spectrogram_image(view.log_mel, _SPECTROGRAM_WIDTH))[None])[0],
        "sound": sound,
    }
