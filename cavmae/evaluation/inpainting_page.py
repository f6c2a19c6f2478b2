"""The page of an inpainting: figures and sounds of all clips to look at and to listen to."""

import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cavmae.evaluation.tables import number, percent

_SOUNDS = {
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
    environment = Environment(
        loader=PackageLoader("cavmae.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    environment.filters["decibels"] = lambda gain: f"{-20 * math.log10(gain):.1f} dB"
    template = environment.get_template("inpainting.html.j2")
    return template.render(page=document, figure=figure, sounds=_SOUNDS, pattern=_PATTERNS[document["mask_mode"]])
