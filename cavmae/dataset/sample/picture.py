"""The picture of a scene: a striped ball before a plain wall; the direction of the stripes is the kind."""

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cavmae.dataset.sample.scene import GRAIN_STREAM, PICTURE_STREAM, Scene

Floats = NDArray[np.float32]

_HUES = 0.78  # share of the colour circle in use: red to violet, so that both ends of a fact differ
_EDGE = np.float32(3.0)  # steepness of the stripes' edges
_TILT = 0.36  # radians, less than half way to the next kind
_ANGLES = {"bars": 0.5 * np.pi, "rise": 0.25 * np.pi, "posts": 0.0, "fall": 0.75 * np.pi}  # in which the stripes follow


def draw(scene: Scene, size: int, frames: int, seconds: float) -> NDArray[np.uint8]:
    """Return the frames [T, size, size, 3] (RGB) of `scene`, evenly spaced over `seconds`.

    Lengths are in picture widths, from the middle of the picture.
    """
    random = scene.stream(PICTURE_STREAM)
    facts = scene.seen
    t = np.arange(frames, dtype=np.float32)[:, None, None] * np.float32(seconds / frames)  # [T, 1, 1]
    grid = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - np.float32(0.5)

    radius = 0.24 + 0.20 * facts.level
    x = _float32(grid[None, None, :] - random.uniform(-0.16, 0.16) - random.uniform(-0.02, 0.02) * t)  # [T, 1, S]
    y = _float32(grid[None, :, None] - random.uniform(-0.12, 0.12) - random.uniform(-0.04, 0.04) * t)  # [T, S, 1]
    distance = np.sqrt(x * x + y * y)  # [T, S, S]

    tilt = random.uniform(-0.2, 0.2) + random.uniform(-0.08, 0.08) * t  # radians; kinds are pi / 4 apart
    angle = _float32(_ANGLES[scene.picture] + np.clip(tilt, -_TILT, _TILT))
    phase = _float32(random.uniform(0, 1) + random.uniform(-0.6, 0.6) * t)  # in stripes
    across = (np.cos(angle) * x + np.sin(angle) * y) / np.float32(random.uniform(0.22, 0.28)) + phase
    ink = (0.5 + 0.5 * np.tanh(_EDGE * np.cos(np.float32(2 * np.pi) * across)))[..., None]  # 0 dark to 1 light

    light = np.array(colorsys.hsv_to_rgb(_HUES * facts.pitch, random.uniform(0.75, 1.0), random.uniform(0.85, 1.0)))
    dark = light * random.uniform(0.15, 0.3)
    shade = 1.08 - 0.35 * (distance / np.float32(radius)) ** 2  # darker towards the rim: round
    ball = (dark + (light - dark) * ink) * shade[..., None]  # [T, S, S, 3]
    slope_x, slope_y = random.uniform(-0.12, 0.12, 2)
    wall = random.uniform(0.08, 0.80) + slope_x * grid[None] + slope_y * grid[:, None]  # [S, S]
    cover = np.clip((np.float32(radius) - distance) * np.float32(size / 2) + 0.5, 0, 1)[..., None]
    picture = wall[None, ..., None] * (1 - cover) + ball * cover  # [T, S, S, 3]

    grain = scene.stream(GRAIN_STREAM).standard_normal((frames, size, size, 1), dtype=np.float32)
    picture = picture + np.float32(random.uniform(0.005, 0.03)) * grain
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, dtype=np.uint8)


def _float32(values: NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float32)
