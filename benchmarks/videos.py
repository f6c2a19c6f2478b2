"""Videos to extract from: H.264 and AAC as video sites serve them, made here."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

WIDE, HIGH, FPS, SECONDS, RATE = 640, 360, 25, 10, 44100
_KEYFRAME_EVERY = 250  # libx264's own default


def render_videos(folder: Path, count: int, seed: int = 0, seconds: float = SECONDS) -> None:
    """Write `count` videos of 640 x 360 pixels, 25 frames a second, with stereo sound at 44.1 kHz."""
    for number in range(count):
        _render(folder / f"video{number:05d}.mp4", np.random.Generator(np.random.Philox(key=[seed, number])), seconds)


def _render(path: Path, rng: np.random.Generator, seconds: float) -> None:
    """A camera that pans over a landscape of many scales, while a light moves across it."""
    ground = _landscape(rng, 2 * HIGH, 2 * WIDE)
    sway = rng.uniform(0.5, 2, 4)
    down, across = np.mgrid[0:HIGH, 0:WIDE].astype(np.float32)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "medium", "g": str(_KEYFRAME_EVERY)})
        video.width, video.height, video.pix_fmt = WIDE, HIGH, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="stereo")
        frames = round(seconds * FPS)
        for at in range(frames):
            turn = 2 * np.pi * at / (FPS * SECONDS)
            top = int(HIGH / 2 * (1 + np.sin(sway[0] * turn)))
            left = int(WIDE / 2 * (1 + np.sin(sway[1] * turn)))
            light = [HIGH / 2 * (1 + np.cos(sway[2] * turn)), WIDE / 2 * (1 + np.cos(sway[3] * turn))]
            glow = 90 * np.exp(-((down - light[0]) ** 2 + (across - light[1]) ** 2) / 5000)
            pixels = ground[top : top + HIGH, left : left + WIDE] + glow[:, :, None]
            frame = av.VideoFrame.from_ndarray(np.clip(pixels, 0, 255).astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = at, Fraction(1, FPS)
            out.mux(video.encode(frame))
        samples = np.cumsum(rng.standard_normal((2, round(seconds * RATE)), dtype=np.float32), axis=1)
        samples -= samples.mean(axis=1, keepdims=True)
        sound = av.AudioFrame.from_ndarray(samples / np.abs(samples).max() * 0.5, "fltp", "stereo")
        sound.sample_rate = RATE
        out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def _landscape(rng: np.random.Generator, high: int, wide: int) -> np.ndarray:
    """Noise of many scales, float32 [high, wide, 3] about 110."""
    total = np.full((high, wide, 3), 110, dtype=np.float32)
    for cells in (3, 9, 36, 144):
        cell = rng.standard_normal((cells, 2 * cells, 3), dtype=np.float32) * 60 / cells**0.4
        for channel in range(3):
            total[:, :, channel] += np.asarray(
                Image.fromarray(cell[:, :, channel]).resize((wide, high), Image.Resampling.BICUBIC)
            )
    return total
