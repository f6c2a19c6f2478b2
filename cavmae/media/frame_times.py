"""Which frames of a window become the pictures of a clip: pure arithmetic on presentation times."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-6  # seconds, far below any frame period, far above float rounding
_SAME_RATE = 0.005  # relative: time stamps rounded to milliseconds move the measured rate less than this


def measured_rate(times: NDArray[np.float64], nominal: float) -> float:
    """Return the frame rate in frames per second of sorted times [n] in seconds.

    The container's `nominal` rate (0 if unknown) is taken where the times agree with it, because rounded time stamps
    would turn 30 into 29.998; where they do not, the times are believed.
    """
    span = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    if span <= 0:
        return nominal
    measured = (len(times) - 1) / span
    return nominal if nominal > 0 and abs(nominal / measured - 1) < _SAME_RATE else measured


def is_constant_rate(times: NDArray[np.float64]) -> bool:
    """Tell whether no frame stands half a period or more from its place on an even grid."""
    if len(times) < 3:
        return True
    grid = np.linspace(times[0], times[-1], len(times))
    period = (times[-1] - times[0]) / (len(times) - 1)
    return bool(np.abs(times - grid).max() < period / 2) if period > 0 else True


def choose_frames(
    times: NDArray[np.float64], window_s: float, nominal: float, count: int, rule: Literal["exact", "official"]
) -> list[int]:
    """Return which of the frames with sorted `times` [n] (seconds) become the `count` pictures, as indexes.

    The rule of the CAV-MAE extraction script is picture i = frame int(i * total / count), with total = min(n, int(fps *
    window_s)). `exact` does that for a constant frame rate. With a variable one an index says nothing about time, so
    the frame on show at the i-th of `count` even steps through the film is taken, which for a constant rate is the
    same frame. `official` keeps the index whatever the rate, and reads one frame early, as the script does (0 stays 0).
    n must be at least 1; where there are fewer frames than pictures, frames repeat.
    """
    fps = measured_rate(times, nominal)
    if rule == "exact" and not is_constant_rate(times):
        film_s = min(window_s, float(times[-1] - times[0]) + (1 / fps if fps > 0 else 0.0))
        steps = times[0] + np.arange(count) * (film_s / count)
        return [max(int(index) - 1, 0) for index in np.searchsorted(times, steps + _EPSILON, side="right")]
    nominal_fps = nominal if rule == "official" and nominal > 0 else fps
    total = min(len(times), int(nominal_fps * window_s + _EPSILON)) if nominal_fps > 0 else len(times)
    indexes = [int(i * max(total, 1) / count) for i in range(count)]
    return [max(index - 1, 0) for index in indexes] if rule == "official" else indexes
