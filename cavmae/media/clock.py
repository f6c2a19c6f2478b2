"""When decoded frames are shown, in files whose time stamps need judging."""

import av

from cavmae.media.container import tick
from cavmae.media.scan import Window

# Containers without presentation times: what FFmpeg puts in their place follows the order of decoding.
TIMELESS = frozenset({"avi"})


class Clock:
    """Tells when decoded frames are shown, where a container stores no or wrong presentation times.

    Frames come out of a decoder in the order of presentation, so whichever of their two stamps runs backwards less
    often is the right one; FFmpeg's own programs decide in the same way. Without presentation times the time of
    decoding serves, less the frames that the decoder held back at first.
    """

    def __init__(self, track: av.VideoStream, window: Window, timeless: bool, first_dts: int | None) -> None:
        self._zero_s = window.zero_s
        self._period_s = float(1 / track.guessed_rate) if track.guessed_rate else 0.04
        self._tick_s = tick(track)
        self._timeless, self._first_dts = timeless, first_dts
        self._held_back: int | None = None
        self._previous_s = -self._period_s
        self._faults = {"pts": 0, "dts": 0}
        self._last: dict[str, int] = {}

    def time_of(self, frame: av.VideoFrame) -> float:
        """Return the frame's presentation time in seconds on the window's clock."""
        stamp = self._decoding(frame) if self._timeless else self._monotonic(frame)
        at_s = self._previous_s + self._period_s if stamp is None else stamp * self._tick_s - self._zero_s
        self._previous_s = at_s
        return at_s

    def _decoding(self, frame: av.VideoFrame) -> int | None:
        if frame.dts is None or self._first_dts is None:
            return None
        if self._held_back is None:
            self._held_back = frame.dts - self._first_dts
        return frame.dts - self._held_back

    def _monotonic(self, frame: av.VideoFrame) -> int | None:
        for name, stamp in (("pts", frame.pts), ("dts", frame.dts)):
            if stamp is not None:
                self._faults[name] += stamp <= self._last.get(name, stamp - 1)
                self._last[name] = stamp
        trust_pts = frame.dts is None or self._faults["pts"] <= self._faults["dts"]
        return frame.pts if trust_pts and frame.pts is not None else frame.dts
