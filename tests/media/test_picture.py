"""Orientation, shape and sanity of single pictures."""

import av
import numpy as np
import pytest

from cavmae.media.clip import MediaRejected
from cavmae.media.picture import Orientation, Shrinker, is_static, square, variance_over_time


def frame_of(pixels: np.ndarray, pix_fmt: str = "rgb24") -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt)


def test_the_eight_orientations_send_the_corner_where_the_matrix_says() -> None:
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    corners = set()
    for swaps in (False, True):
        for flip_x in (False, True):
            for flip_y in (False, True):
                turned = Orientation(swaps, flip_x, flip_y).apply(pixels)
                assert turned.shape == ((3, 2, 3) if swaps else (2, 3, 3))
                row, column = np.argwhere(turned[:, :, 0] == 255)[0]
                assert (row > 0, column > 0) == (flip_y, flip_x)
                corners.add((swaps, int(row), int(column)))
    assert len(corners) == 8


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj444p", "yuv420p10le", "gray", "rgb24", "nv12"])
@pytest.mark.parametrize("shape", [(45, 67), (200, 31), (7, 5), (300, 8)])
@pytest.mark.parametrize("official", [False, True])
def test_any_size_and_pixel_format_becomes_a_square(pix_fmt: str, shape: tuple[int, int], official: bool) -> None:
    frame = frame_of(np.full((*shape, 3), 128, dtype=np.uint8), pix_fmt)
    pixels = Shrinker(32, 1.0, 10**6, official)(frame)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    assert abs(float(pixels.mean()) - 128) < 4


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    checkered = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    pixels = Shrinker(32, 1.0, 10**6, official=False)(frame_of(checkered))
    assert float(pixels.std()) < 3 and abs(float(pixels.mean()) - 127.5) < 3


def test_wide_pixels_widen_the_picture() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 64, 3)).copy()
    plain = Shrinker(32, 1.0, 10**6, official=False)(frame_of(ramp))
    wide = Shrinker(32, 2.0, 10**6, official=False)(frame_of(ramp))
    assert plain[:, 0].mean() < 10
    assert wide[:, 0].mean() > 50  # the outer quarters were cropped away


def test_a_frame_beyond_the_limit_is_refused() -> None:
    with pytest.raises(MediaRejected, match="too_large"):
        Shrinker(32, 1.0, 99, official=False)(frame_of(np.zeros((10, 10, 3), dtype=np.uint8)))


def test_square_keeps_the_centre() -> None:
    pixels = np.zeros((32, 96, 3), dtype=np.uint8)
    pixels[:, 32:64] = 200
    assert (square(pixels, 32) == 200).all()


def test_variance_over_time_is_the_variance() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (10, 9, 7, 3), dtype=np.uint8)
    assert variance_over_time(frames) == pytest.approx(np.var(frames.astype(np.float64), axis=0).mean())
    assert is_static(variance_over_time(np.repeat(frames[:1], 10, axis=0)))
    assert not is_static(variance_over_time(frames))
