"""Frames and waveform into an MP4 file (H.264 + AAC) whose bytes depend on nothing but them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

_AAC_BITS_PER_SECOND = 64_000


def encode(
    path: Path,
    frames: NDArray[np.uint8] | None,
    wave: NDArray[np.int16] | None,
    fps: int,
    sample_rate: int,
    header_first: bool = True,
) -> None:
    """Write `frames` [T, H, W, 3] (RGB, even sides) and `wave` [samples] (mono) as one MP4; None leaves the track out.

    One encoder thread and no time stamps or version tags: equal input gives equal bytes. `header_first` puts the index
    (the moov box) before the media, as files made for the web have it.
    """
    options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if header_first else {})
    with av.open(str(path), "w", format="mp4", options=options) as container:
        picture = None if frames is None else _video_stream(container, frames, fps)
        sound = None if wave is None else _audio_stream(container, sample_rate)
        if frames is not None and picture is not None:
            _write_frames(container, picture, frames, fps)
        if wave is not None and sound is not None:
            _write_wave(container, sound, wave, sample_rate)


def _video_stream(container: OutputContainer, frames: NDArray[np.uint8], fps: int) -> VideoStream:
    # mbtree off: with it, libx264 as PyAV 18 carries it gives small pictures different bytes now and then.
    options = {"preset": "veryfast", "crf": "20", "threads": "1", "x264-params": "mbtree=0", "flags": "+bitexact"}
    stream = container.add_stream("libx264", rate=fps, options=options)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    return stream


def _audio_stream(container: OutputContainer, sample_rate: int) -> AudioStream:
    options = {"aac_coder": "fast", "flags": "+bitexact"}  # five times as fast as the default coder
    stream = container.add_stream("aac", rate=sample_rate, layout="mono", options=options)
    stream.codec_context.bit_rate = _AAC_BITS_PER_SECOND
    stream.codec_context.thread_count = 1
    return stream


def _write_frames(container: OutputContainer, stream: VideoStream, frames: NDArray[np.uint8], fps: int) -> None:
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, fps)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_wave(container: OutputContainer, stream: AudioStream, wave: NDArray[np.int16], sample_rate: int) -> None:
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
