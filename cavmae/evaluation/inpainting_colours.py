"""A perceptually uniform colour map for spectrograms: from dark blue over red to light yellow.

Equal steps of level are equal steps of colour in OKLab (Ottosson 2020), and lightness only rises, so that it also reads in
grey and with colour-blind eyes. Nothing in it is grey: grey stands for what is hidden.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_LIGHTNESS = (0.14, 0.97)
_HUE = (275.0, 470.0)  # degrees in OKLab: blue, over magenta and red, to yellow at 110
_CHROMA = 0.165
_FINE = 4096

# OKLab to linear sRGB (Ottosson 2020, "A perceptual color space for image processing")
_LAB_TO_LMS = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]])
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@lru_cache(maxsize=1)
def colour_table() -> NDArray[np.uint8]:
    """Return the map as sRGB uint8 [256, 3], lowest level first."""
    along = np.linspace(0, 1, _FINE)
    path = _path(along)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    even = np.interp(np.linspace(0, length[-1], 256), length, along)
    return (_to_srgb(_path(even)) * 255).round().astype(np.uint8)


def _path(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """OKLab [N, 3] of places on the way, 0 to 1; chroma is smaller at both ends, where the screen has less of it."""
    lightness = _LIGHTNESS[0] + (_LIGHTNESS[1] - _LIGHTNESS[0]) * along
    hue = np.radians(_HUE[0] + (_HUE[1] - _HUE[0]) * along)
    chroma = _CHROMA * np.sin(np.pi * (0.15 + 0.7 * along))
    return np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


def _to_srgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = (lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T
    linear = np.clip(linear, 0, 1)
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
