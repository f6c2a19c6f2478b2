"""The pictures of a window: listed video packets to chosen RGB frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from cavmae.media.clip import ClipSettings, MediaRejected
from cavmae.media.clock import TIMELESS, Clock
from cavmae.media.container import MEDIA_ERRORS, Tracks, tick
from cavmae.media.frame_times import choose_frames, is_constant_rate, measured_rate
from cavmae.media.picture import Orientation, Pixels, Shrinker, display_size, orientation_of
from cavmae.media.scan import Take, Window, video_packets

# In H.264 the decoder itself can tell a frame that no other frame refers to; leaving it out changes no other pixel.
_SKIPPABLE = frozenset({"h264"})


@dataclass
class Film:
    """The chosen pictures of a window, and what decoding them showed."""

    frames: Pixels  # uint8 RGB [frames, size, size, 3]
    chosen: list[int]  # which of the frames in the window they are
    times: NDArray[np.float64]  # [n] seconds on the window's clock, of all frames in the window
    fps: float
    size: tuple[int, int]  # width, height as displayed
    orientation: Orientation
    constant_rate: bool
    damaged: int  # packets that failed, and frames that the decoder had to conceal

    @property
    def end_s(self) -> float:
        """When the last frame leaves the screen."""
        return float(self.times[-1]) + (1 / self.fps if self.fps > 0 else 0.0)


class _Reel:
    """One decoding of a window's packets that keeps the pictures asked for."""

    def __init__(self, container: InputContainer, tracks: Tracks, window: Window, take: Take, shrink: Shrinker) -> None:
        self._container, self._tracks, self._window, self._take = container, tracks, window, take
        self._shrink = shrink
        self.pictures: dict[int, Pixels] = {}
        self.times: list[float] = []
        self.damaged = 0
        self.first: av.VideoFrame | None = None

    def by_stamp(self, wanted: set[int]) -> bool:
        """Decode only what the frames with the time stamps `wanted` need; True if all of them came out whole."""
        context = self._tracks.video.codec_context
        remaining = set(wanted)
        latest: int | None = None
        try:
            for packet in self._packets():
                if not remaining:
                    break
                context.skip_frame = "DEFAULT" if packet is None or packet.pts in wanted else "NONREF"
                for frame in context.decode(packet):
                    if frame.pts is None or (latest is not None and frame.pts <= latest):
                        return False  # the stamps are not those of presentation
                    latest = frame.pts
                    if frame.pts in remaining:
                        remaining.discard(frame.pts)
                        self._keep(frame.pts, frame)
                        self.damaged += frame.is_corrupt
        except MEDIA_ERRORS:
            return False
        finally:
            context.skip_frame = "DEFAULT"
            context.flush_buffers()
        return not remaining and not self.damaged

    def by_order(self, wanted: set[int]) -> None:
        """Decode everything and keep the frames whose place within the window is in `wanted`."""
        context = self._tracks.video.codec_context
        timeless = self._container.format.name in TIMELESS
        clock = Clock(self._tracks.video, self._window, timeless, self._take.first_dts)
        for packet in self._packets():
            try:
                frames = context.decode(packet)
            except MEDIA_ERRORS:
                self.damaged += 1
                continue
            for frame in frames:
                at_s = clock.time_of(frame)
                if not self._window.holds(at_s):
                    continue
                if len(self.times) in wanted:
                    self._keep(len(self.times), frame)
                self.first = self.first or frame
                self.times.append(at_s)
                self.damaged += frame.is_corrupt
        context.flush_buffers()

    def _packets(self) -> "Iterator[av.Packet[av.VideoStream] | None]":
        yield from video_packets(self._container, self._tracks, self._window, self._take)
        yield None

    def _keep(self, key: int, frame: av.VideoFrame) -> None:
        self.first = self.first or frame
        self.pictures[key] = self._shrink(frame)


def read_film(container: InputContainer, tracks: Tracks, window: Window, take: Take, settings: ClipSettings) -> Film:
    """Decode the pictures that `settings` asks for; one decoding, and a second where the first shows other frames.

    H.264, where the list of packets already says which frames there are, is decoded only as far as the chosen frames
    need; anything wrong on the way and everything is decoded. MediaRejected `no_decodable_video` if no frame comes out.
    """
    aspect = tracks.video.sample_aspect_ratio
    shrink = Shrinker(
        settings.image_size, float(aspect) if aspect else 1.0, settings.max_pixels, settings.frame_index == "official"
    )
    nominal = float(tracks.video.guessed_rate or 0)

    def choose(times: NDArray[np.float64]) -> list[int]:
        return choose_frames(times, window.length_s, nominal, settings.frames, settings.frame_index)

    listed = sorted(stamp for stamp in take.stamps if stamp is not None)
    certain = len(listed) == len(take.stamps) == len(set(listed)) > 0 and not take.read_errors
    certain = certain and container.format.name not in TIMELESS
    if certain:
        times = np.array(listed) * tick(tracks.video) - window.zero_s
    else:
        times = np.arange(max(len(take.stamps), 1)) / (nominal or 25.0)  # a guess, put right by the first decoding
    chosen = choose(times)
    if certain and tracks.video.codec_context.name in _SKIPPABLE:
        reel = _Reel(container, tracks, window, take, shrink)
        if reel.by_stamp({listed[index] for index in chosen}):
            return _develop(reel, [listed[index] for index in chosen], chosen, times, nominal, tracks)
    for _ in range(2):
        reel = _Reel(container, tracks, window, take, shrink)
        reel.by_order(set(chosen))
        if not reel.times:
            raise MediaRejected("no_decodable_video", "Not one frame of the picture track could be decoded.")
        times = np.maximum.accumulate(np.array(reel.times))
        chosen = choose(times)
        if set(chosen) <= reel.pictures.keys():
            break
    return _develop(reel, chosen, chosen, times, nominal, tracks)


def _develop(reel: _Reel, keys: list[int], chosen: list[int], times: NDArray[np.float64], nominal: float, tracks: Tracks) -> Film:
    """Put the pictures kept under `keys` in order and describe them."""
    if reel.first is None:
        raise MediaRejected("no_decodable_video", "Not one frame of the picture track could be decoded.")
    orientation = orientation_of(reel.first)
    aspect = tracks.video.sample_aspect_ratio
    return Film(
        frames=np.stack([reel.pictures[key] for key in keys]),
        chosen=chosen,
        times=times,
        fps=measured_rate(times, nominal),
        size=display_size(reel.first, float(aspect) if aspect else 1.0, orientation),
        orientation=orientation,
        constant_rate=is_constant_rate(times),
        damaged=reel.damaged,
    )
