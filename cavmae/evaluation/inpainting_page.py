"""The page of an inpainting: figures and sounds of all clips to look at and to listen to."""

import math
from typing import Any

from cavmae.evaluation.page import render_page

SOUNDS = {
    "original": "Original",
    "vocoded": "Original by Griffin-Lim",
    "masked": "Masked by Griffin-Lim",
    "reconstructed": "Reconstructed by Griffin-Lim",
}
_PATTERNS = {
    "unstructured": "patches anywhere",
    "time": "moments, over all frequencies",
    "freq": "frequency bands, over all time",
    "tf": "moments and frequency bands",
}


def render(document: dict[str, Any], figure: str) -> str:
    """Return the page as text; `document` is what losses.json holds, `figure` the name of the picture in a clip's folder.

    The page lies beside the clips' folders and refers to what they hold. It runs no script, which its content security
    policy says to the browser as well. Names and paths are escaped: they come from whoever named the files.
    """
    return render_page(
        "inpainting.html.j2",
        {"decibels": _decibels},
        page=document,
        figure=figure,
        sounds=SOUNDS,
        pattern=_PATTERNS[document["mask_mode"]],
    )


def _decibels(gain: float) -> str:
    """How much softer a gain below 1 makes a sound."""
    return f"{-20 * math.log10(gain):.1f} dB"
