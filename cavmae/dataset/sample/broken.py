"""Files that are broken on purpose, each in one way, so that the quarantine has something to show."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cavmae.dataset.sample.encode import encode
from cavmae.storage import write_atomic

_PAGE = "<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1><p>This video has been removed.</p></body></html>\n"


class Source(NamedTuple):
    """A sound clip that the broken ones are made of."""

    frames: NDArray[np.uint8]  # [T, H, W, 3]
    wave: NDArray[np.int16]  # [samples]
    fps: int
    sample_rate: int


def write_broken(source: Source, folder: Path) -> list[tuple[str, str]]:
    """Write the broken files into `folder`; return (file name, reason for which it has to be rejected) of each."""
    written = []
    for name, reason, spoil in _CASES:
        with write_atomic(folder / name) as path:
            spoil(source, path)
        written.append((name, reason))
    return written


def _whole(source: Source, path: Path, header_first: bool = True) -> bytearray:
    encode(path, source.frames, source.wave, source.fps, source.sample_rate, header_first)
    return bytearray(path.read_bytes())


def _without_sound(source: Source, path: Path) -> None:
    encode(path, source.frames, None, source.fps, source.sample_rate)


def _without_picture(source: Source, path: Path) -> None:
    encode(path, None, source.wave, source.fps, source.sample_rate)


def _silent(source: Source, path: Path) -> None:
    encode(path, source.frames, np.zeros_like(source.wave), source.fps, source.sample_rate)


def _cut(source: Source, path: Path) -> None:
    content = _whole(source, path)
    media = content.index(b"mdat") + 4
    path.write_bytes(content[: media + (len(content) - media) // 10])


def _cut_before_header(source: Source, path: Path) -> None:
    content = _whole(source, path, header_first=False)
    path.write_bytes(content[: content.index(b"moov") * 6 // 10])


def _scrambled(source: Source, path: Path) -> None:
    content = _whole(source, path)
    media = content.index(b"mdat") + 4
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, len(content) - media, dtype=np.uint8)
    path.write_bytes(content[:media] + noise.tobytes())


def _web_page(source: Source, path: Path) -> None:
    path.write_text(_PAGE, encoding="utf-8")


def _empty(source: Source, path: Path) -> None:
    path.write_bytes(b"")


_CASES: tuple[tuple[str, str, Callable[[Source, Path], None]], ...] = (
    ("broken_no_sound.mp4", "no_audio", _without_sound),
    ("broken_no_picture.mp4", "no_video", _without_picture),
    ("broken_silent.mp4", "silent_audio", _silent),
    ("broken_cut_short.mp4", "truncated", _cut),
    ("broken_no_header.mp4", "undecodable", _cut_before_header),
    ("broken_scrambled.mp4", "no_decodable_video", _scrambled),
    ("broken_web_page.mp4", "not_media", _web_page),
    ("broken_empty.mp4", "empty_file", _empty),
)
