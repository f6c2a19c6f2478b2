"""Small films for the tests: each frame shows its number as brightness, the sound is a sine from a known moment."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Painter = Callable[[int], NDArray[np.uint8]]


def grey(index: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A picture [height, width, 3] whose brightness tells `index` (modulo 50)."""
    return np.full((height, width, 3), 20 + 4 * (index % 50), dtype=np.uint8)


def index_of(picture: NDArray[np.uint8]) -> int:
    """The index (modulo 50) that a decoded `grey` picture shows."""
    return round((float(picture.mean()) - 20) / 4)


def film(
    path: Path,
    seconds: float = 3.0,
    fps: int = 10,
    paint: Painter = grey,
    sound_s: float | None = None,
    sound_from_s: float = 0.0,
    rate: int = 44100,
    channels: int = 2,
    times_ms: Sequence[int] | None = None,
    rotation: int | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    video_codec: str = "libx264",
    amplitude: float = 0.3,
) -> Path:
    """Write H.264 and AAC to `path` (container by its suffix) and return it; channel 1 is silent if there is one."""
    with av.open(str(path), "w", options=options or {}) as out:
        video = out.add_stream(video_codec, rate=fps)
        first = paint(0)
        video.height, video.width = first.shape[:2]
        video.pix_fmt = pix_fmt
        video.options = {"crf": "8", "g": "25", "threads": "1"}
        if rotation is not None:
            video.set_display_rotation(rotation)
        if times_ms is not None:
            video.codec_context.time_base = Fraction(1, 1000)
        audio = None
        if sound_s != 0:
            audio = out.add_stream("aac", rate=rate, layout="mono" if channels == 1 else "stereo")
        stamps = times_ms if times_ms is not None else range(round(seconds * fps))
        base = Fraction(1, 1000) if times_ms is not None else Fraction(1, fps)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(paint(index), format="rgb24")
            frame.pts, frame.time_base = stamp, base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            _sing(out, audio, sound_s if sound_s is not None else seconds, sound_from_s, rate, channels, amplitude)
    return path


def _sing(
    out: av.container.OutputContainer,
    audio: av.AudioStream,
    seconds: float,
    from_s: float,
    rate: int,
    channels: int,
    amplitude: float,
) -> None:
    count = round(seconds * rate)
    wave = np.zeros((channels, count), dtype=np.float32)
    wave[0] = amplitude * np.sin(2 * np.pi * 440 * np.arange(count) / rate)
    for start in range(0, count, 1024):
        part = np.ascontiguousarray(wave[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono" if channels == 1 else "stereo")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = start + round(from_s * rate)
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))
