"""Figures: geometry within the frame, pictures the right way up, sounds that play back."""

import base64
import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as sklearn_metrics

from cavmae.evaluation.curves import curve_points
from cavmae.evaluation.figures import (
    Series,
    frame_uris,
    heat_map_png,
    line_chart,
    mean_curve,
    nice_ticks,
    sound_uri,
    spectrogram_image,
    spectrogram_png,
)


def content(uri: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-6, 1e6))
def test_ticks_are_few_distinct_and_within_the_axis(low, span):
    high = low + span
    if high - low < 1e-9 * max(abs(low), 1):
        return
    ticks = nice_ticks(low, high, 5)
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value, _ in ticks)


def test_ticks_of_small_and_large_numbers_are_short():
    assert [text for _, text in nice_ticks(0, 0.001, 4)] == ["0", "5e-4", "1e-3"]
    assert [text for _, text in nice_ticks(0, 1, 5)] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_chart_leaves_out_what_is_not_finite_and_stays_in_its_frame():
    chart = line_chart("loss", "epoch", "", [Series("train", [1, 2, 3, 4], [9.0, np.nan, np.inf, 1.0])])
    points = [tuple(map(float, pair.split(","))) for pair in chart.lines[0][1].split()]
    assert len(points) == 2
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in points)
    assert points[0][1] < points[1][1]  # SVG's y grows downwards: the larger loss stands higher


def test_chart_of_one_point_or_a_constant_is_drawn_and_of_nothing_is_not():
    assert line_chart("a", "x", "", [Series("s", [1], [0.0])]) is not None
    assert line_chart("a", "x", "", [Series("s", [1, 2], [3.0, 3.0])]) is not None
    assert line_chart("a", "x", "", [Series("s", [1, 2], [np.nan, np.nan])]) is None


def test_mean_of_one_precision_recall_curve_has_the_area_of_average_precision():
    random = np.random.default_rng(0)
    target = (random.random((300, 1)) < 0.3).astype(float)
    score = random.random((300, 1)) + 0.4 * target
    rows = curve_points(target, score, ["x"], limit=1000)["pr"]
    recall, precision = (np.array([row[name] for row in rows]) for name in ("recall", "precision"))
    grid, mean = mean_curve([(recall, precision)], precision=True, points=5001)
    assert np.trapezoid(mean, grid) == pytest.approx(sklearn_metrics.average_precision_score(target, score), abs=1e-2)


def test_mean_of_roc_curves_is_vertical():
    grid, mean = mean_curve([(np.array([0, 1]), np.array([0, 1])), (np.array([0, 0, 1]), np.array([0, 1, 1]))], False)
    assert mean[50] == pytest.approx(0.75) and grid[50] == 0.5


def test_spectrogram_has_high_bands_on_top_and_time_to_the_right():
    log_mel = np.zeros((40, 16))
    log_mel[30:, 12:] = 5.0  # late and high
    pixels = np.asarray(Image.open(content(spectrogram_png(log_mel))).convert("L"), float)
    assert pixels.shape == (16, 40)
    assert pixels[:4, 30:].mean() > 200 > 50 > pixels[4:, :].mean()


def test_long_spectrogram_is_narrowed_and_a_constant_one_is_drawn():
    assert Image.open(content(spectrogram_png(np.random.default_rng(0).normal(size=(2000, 8))))).width == 640
    assert Image.open(content(spectrogram_png(np.full((10, 4), -np.inf)))).size == (10, 4)
    assert spectrogram_image(np.random.default_rng(0).normal(size=(200, 8)), 50).size == (50, 8)


def test_heat_map_is_white_for_none_and_accent_for_all():
    pixels = np.asarray(Image.open(content(heat_map_png(np.eye(3)))))
    assert tuple(pixels[0, 1]) == (255, 255, 255) and tuple(pixels[1, 1]) == (11, 102, 195)


def test_frames_keep_their_jpeg_bytes_and_arrays_become_jpeg():
    frame = np.full((12, 10, 3), 200, np.uint8)
    first, second = frame_uris([b"\xff\xd8 as it is", frame])
    assert content(first).read() == b"\xff\xd8 as it is"
    assert Image.open(content(second)).size == (10, 12)


@pytest.mark.parametrize("waveform", [np.array([0, 16384, -32767], np.int16), np.array([0.0, 0.50002, -3.0])])
def test_sound_is_a_mono_wav_of_the_samples(waveform):
    with wave.open(content(sound_uri(waveform, 8000))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, 8000, 3)
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [0, 16384, -32767]
