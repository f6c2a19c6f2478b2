"""One decoded frame to one square RGB picture."""

from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from cavmae.media.clip import MediaRejected

Pixels = NDArray[np.uint8]

_FIXED = 65536.0  # the display matrix holds 16.16 fixed-point numbers
_PLAUSIBLE_SAR = (0.2, 5.0)  # pixel aspect ratios outside are damage, not anamorphic film
_STATIC_VARIANCE = 0.5  # what coding noise alone leaves of a still picture stays below
_LONGEST = 16  # times as long as wide: beyond, a frame is cut before it is scaled
# Filters that widen when they shrink, as antialiased resizing does; exact rounding so that all CPUs agree.
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


class Orientation:
    """How a stored frame is turned and mirrored for display: one of the eight symmetries of a rectangle."""

    def __init__(self, swaps: bool, flip_x: bool, flip_y: bool) -> None:
        self.swaps, self.flip_x, self.flip_y = swaps, flip_x, flip_y

    @property
    def degrees(self) -> int:
        """The clockwise rotation: 0, 90, 180 or 270; of a mirrored picture, the rotation that comes with it."""
        if self.swaps:
            return 270 if self.flip_y and not self.flip_x else 90
        return 180 if self.flip_x and self.flip_y else 0

    @property
    def changes(self) -> bool:
        """Whether the stored frame differs from the displayed one."""
        return self.swaps or self.flip_x or self.flip_y

    def apply(self, pixels: Pixels) -> Pixels:
        """Turn pixels [h, w, 3] as stored into [h, w, 3] as displayed (h and w swapped for a quarter turn)."""
        turned = pixels.swapaxes(0, 1) if self.swaps else pixels
        return turned[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read a frame's display matrix (ISO/IEC 14496-12: x' = ax + cy, y' = bx + dy); odd angles go to the nearest."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation(False, False, False)
    a, b, _, c, d = (float(value) / _FIXED for value in np.frombuffer(memoryview(cast(Buffer, data)), dtype="<i4")[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def display_size(frame: av.VideoFrame, pixel_aspect: float, orientation: Orientation) -> tuple[int, int]:
    """Return width and height in square pixels as displayed."""
    low, high = _PLAUSIBLE_SAR
    width = round(frame.width * pixel_aspect) if low <= pixel_aspect <= high else frame.width
    return (frame.height, width) if orientation.swaps else (width, frame.height)


class Shrinker:
    """Scales the short side of frames to `size` pixels and cuts out the centre, reusing FFmpeg's scaler.

    Bilinear with antialias, as torchvision's Resize in the CAV-MAE extraction script; any pixel format in, 8-bit RGB
    out, turned and mirrored as displayed. The frame's own colour matrix is honoured, and rounding is exact.
    `official` gives that script's very pixels instead: converted at full size with BT.601 and FFmpeg's fast rounding,
    as OpenCV 4 does whatever the file says (1 to 2 of 255 off), pixels taken for square, then resized by Pillow.
    """

    def __init__(self, size: int, pixel_aspect: float, max_pixels: int, official: bool) -> None:
        self._size, self._max_pixels, self._official = size, max_pixels, official
        self._pixel_aspect = pixel_aspect
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Pixels:
        """Return uint8 RGB [size, size, 3]; MediaRejected `too_large` for a frame of more than `max_pixels` pixels."""
        if frame.width * frame.height > self._max_pixels:
            size = f"{frame.width} x {frame.height}"
            raise MediaRejected("too_large", f"A frame of {size} exceeds {self._max_pixels} pixels.")
        orientation = orientation_of(frame)
        if max(frame.width, frame.height) > _LONGEST * min(frame.width, frame.height):
            frame = _cut_strip(frame)
        if self._official:
            rgb = self._scaler.reformat(
                frame, format="rgb24", src_colorspace=Colorspace.ITU601, dst_colorspace=Colorspace.ITU601,
                interpolation=Interpolation.BICUBIC, threads=1,
            )  # fmt: skip
            return square(orientation.apply(cast(Pixels, rgb.to_ndarray())), self._size)
        shown = display_size(frame, self._pixel_aspect, orientation)
        # [width, height] of the whole picture once its short side has the wanted length
        scaled = [int(self._size * side / min(shown)) for side in shown]
        width, height = reversed(scaled) if orientation.swaps else scaled
        rgb = self._scaler.reformat(frame, width=width, height=height, format="rgb24", interpolation=_SCALING, threads=1)
        return _cut_centre(orientation.apply(cast(Pixels, rgb.to_ndarray())), self._size)


def _cut_strip(frame: av.VideoFrame) -> av.VideoFrame:
    """Cut the middle out of a strip-like frame before it is scaled up: the crop would throw the rest away."""
    pixels = cast(Pixels, frame.to_ndarray(format="rgb24"))  # [h, w, 3]
    reach = _LONGEST * min(frame.width, frame.height)
    top, left = (max(side - reach, 0) // 2 for side in pixels.shape[:2])
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[top : top + reach, left : left + reach]), "rgb24")


def square(pixels: Pixels, size: int) -> Pixels:
    """Scale the short side of RGB pixels [h, w, 3] to `size` with Pillow and cut out the centre [size, size, 3]."""
    high, wide = pixels.shape[:2]
    scaled = [int(size * side / min(wide, high)) for side in (wide, high)]
    if (wide, high) != tuple(scaled):
        pixels = np.asarray(Image.fromarray(pixels).resize((scaled[0], scaled[1]), Image.Resampling.BILINEAR))
    return _cut_centre(pixels, size)


def _cut_centre(pixels: Pixels, size: int) -> Pixels:
    top, left = (round((side - size) / 2) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + size, left : left + size])


def is_static(variance: float) -> bool:
    """Tell whether the variance over time is no more than coding noise makes of a still picture."""
    return variance < _STATIC_VARIANCE


def variance_over_time(frames: Pixels) -> float:
    """Return the mean over pixels of the variance over frames [n, h, w, 3] of 0..255 values."""
    total = frames.sum(axis=0, dtype=np.uint32)  # [h, w, 3]
    squares = int(np.square(frames, dtype=np.uint16).sum(dtype=np.uint64))  # 255 squared just fits 16 bits
    return squares / frames.size - float(np.square(total / np.float64(len(frames))).mean())
