"""Figures of the report: line charts as SVG geometry, spectrograms, frames and sound as data URIs.

Drawn by hand, so that equal inputs give equal bytes, text is real text, and nothing in a label is ever interpreted.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cavmae.dataset.records import encode_wav
from cavmae.evaluation.ranking import Array

INK, ACCENT, MUTED = "#1b1f24", "#0b66c3", "#9aa4b2"
PALETTE = ("#0b66c3", "#d1495b", "#2a9d8f", "#e09f3e", "#7b5ea7", "#5c8001", "#c2569b", "#5f6b7a", "#a0522d", "#1aa3c9")

WIDTH, HEIGHT = 320.0, 230.0  # SVG units; the page scales them
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 8.0, 10.0, 36.0
_SPECTROGRAM_COLOURS = ("#080a1c", "#3a1466", "#8c2378", "#d64759", "#fa9144", "#fce18c", "#fffce4")  # low to high
_SPECTROGRAM_WIDTH = 640


@dataclass(frozen=True)
class Series:
    """One line of a chart: points (x, y); entries that are not finite are left out."""

    name: str
    x: Sequence[float] | Array
    y: Sequence[float] | Array
    colour: str = INK
    width: float = 1.5
    opacity: float = 1.0


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where it stands in SVG units and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A line chart in SVG units, ready for the template; `lines` pair a series with the points of its polyline."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[tuple[Series, str], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    bounds: tuple[float, float, float, float] | None = None,
) -> Chart | None:
    """Return a chart of `series`; `bounds` are (x_min, x_max, y_min, y_max), by default those of the points.

    None when no series has a finite point.
    """
    points = [_finite(one.x, one.y) for one in series]
    if not any(len(one) for one in points):
        return None
    if bounds is None:
        every = np.concatenate(points)
        (x_min, y_min), (x_max, y_max) = every.min(axis=0), every.max(axis=0)
        margin = 0.05 * (y_max - y_min) or abs(y_max) * 0.05 or 1.0
        x_max = x_max if x_max > x_min else x_min + 1
        bounds = (x_min, x_max, y_min - margin, y_max + margin)
    x_min, x_max, y_min, y_max = bounds
    x_scale = (WIDTH - _RIGHT - _LEFT) / (x_max - x_min)
    y_scale = (HEIGHT - _BOTTOM - _TOP) / (y_max - y_min)

    def across(x: float) -> float:
        return round(_LEFT + (x - x_min) * x_scale, 2)

    def down(y: float) -> float:
        return round(HEIGHT - _BOTTOM - (y - y_min) * y_scale, 2)

    lines = tuple(
        (one, " ".join(f"{across(x)},{down(y)}" for x, y in xy)) for one, xy in zip(series, points, strict=True) if len(xy)
    )
    x_ticks = tuple(Tick(across(value), text) for value, text in nice_ticks(x_min, x_max, 5))
    y_ticks = tuple(Tick(down(value), text) for value, text in nice_ticks(y_min, y_max, 5))
    return Chart(title, x_label, y_label, lines, x_ticks, y_ticks)


def nice_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """Return about `count` (value, text) at multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(index * step, _short(index * step, step)) for index in range(first, last + 1)]


def _short(value: float, step: float) -> str:
    if 1e-3 <= step < 1e5 or abs(value) < step / 2:
        return f"{value:.6g}" if abs(value) >= step / 2 else "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def mean_curve(curves: Sequence[tuple[Array, Array]], precision: bool, points: int = 101) -> tuple[Array, Array]:
    """Return (x, y) [points], the mean of `curves` at fixed x (vertical averaging, Fawcett 2006, algorithm 3).

    Between two points a ROC curve is a straight line; a precision-recall curve is not, so with `precision` each curve
    gives the precision of its first point at recall >= x, the rule under which the area is the average precision.
    """
    grid = np.linspace(0, 1, points)
    rows = []
    for x, y in curves:
        if precision:
            rows.append(y[np.searchsorted(x, grid - 1e-12, side="left").clip(max=len(y) - 1)])
        else:
            rows.append(np.interp(grid, x, y))
    return grid, np.mean(rows, axis=0)


def spectrogram_image(log_mel: Array, width: int = _SPECTROGRAM_WIDTH) -> Image.Image:
    """Return `log_mel` [T, mel] as a picture of at most `width` pixels: time to the right, high bands on top.

    Colours go from the 2nd to the 99.8th percentile.
    """
    values = np.nan_to_num(np.asarray(log_mel, np.float64), neginf=0.0, posinf=0.0)
    low, high = np.percentile(values, [2, 99.8])
    level = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1).T[::-1]  # [mel, T], high band first
    stops = np.linspace(0, 1, len(_SPECTROGRAM_COLOURS))
    channels = np.array([_rgb(colour) for colour in _SPECTROGRAM_COLOURS]).T  # [3, stops]
    table = np.stack([np.interp(np.linspace(0, 1, 256), stops, channel) for channel in channels], axis=1)
    image = Image.fromarray(table[(level * 255).round().astype(np.uint8)].round().astype(np.uint8))
    return image.resize((width, image.height), Image.Resampling.BOX) if image.width > width else image


def spectrogram_png(log_mel: Array) -> str:
    """Return a data URI of `spectrogram_image`."""
    return _uri("image/png", _encode(spectrogram_image(log_mel), "PNG"))


def heat_map_png(share: Array) -> str:
    """Return a data URI of `share` [C, C] in 0..1, one pixel a cell, white to the accent colour."""
    strength = np.clip(np.asarray(share, np.float64), 0, 1)[..., None] ** 0.5  # the root keeps small shares visible
    pixels = 255 + strength * (np.array(_rgb(ACCENT)) - 255)
    return _uri("image/png", _encode(Image.fromarray(pixels.round().astype(np.uint8)), "PNG"))


def frame_uris(frames: Sequence[bytes] | Array) -> list[str]:
    """Return a data URI of each frame: JPEG bytes as they are, uint8 [H, W, 3] encoded as JPEG."""
    return [
        _uri("image/jpeg", one if isinstance(one, bytes) else _encode(Image.fromarray(np.asarray(one, np.uint8)), "JPEG"))
        for one in frames
    ]


def sound_uri(waveform: Array, sample_rate: int) -> str:
    """Return a data URI of a 16-bit mono WAV file; float waveforms are in -1..1 and clipped there."""
    if waveform.dtype != np.int16:
        waveform = (np.clip(waveform, -1, 1) * 32767).round().astype(np.int16)
    return _uri("audio/wav", encode_wav(waveform, sample_rate))


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _finite(x: Sequence[float] | Array, y: Sequence[float] | Array) -> Array:
    pairs = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    return np.asarray(pairs[np.isfinite(pairs).all(axis=1)])


def _encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {"optimize": False}))
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
