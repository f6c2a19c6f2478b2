"""One reading of a window: its sound decoded, its video packets listed and kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import av
from av.container import InputContainer

from cavmae.media.clip import MediaRejected
from cavmae.media.container import MEDIA_ERRORS, Tracks, tick
from cavmae.media.sound import SoundTrack

# Before a late window: resampler and overlapping audio frames need a run-up; a stream without an index may be entered
# far from a keyframe, hence the second, longer one. After these comes the beginning of the file.
_RUN_UPS_S = (0.5, 15.0)
# How far a file is read past the window to see that it goes on, and how far apart its tracks may lie.
_BEYOND_S = 0.6
_INTERLEAVE_S = 10.0
_MAX_FRAMES_PER_S = 2000
_MAX_READ_ERRORS = 16
# Compressed pictures kept in memory; a window with more is read from the file once more instead.
_MAX_KEPT_BYTES = 64 << 20

VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"


@dataclass(frozen=True)
class Window:
    """The part of a file to read, in seconds of its presentation, which begins at `origin_s` of the file's clock."""

    start_s: float
    end_s: float
    origin_s: float

    @property
    def zero_s(self) -> float:
        """The window's start on the file's own clock."""
        return self.origin_s + self.start_s

    @property
    def length_s(self) -> float:
        """The window's length."""
        return self.end_s - self.start_s

    def holds(self, at_s: float) -> bool:
        """Tell whether a time on the window's clock lies within; whatever precedes a file's own start does."""
        return (at_s > -1e-4 or self.start_s <= 0) and at_s < self.length_s - 1e-4


@dataclass
class Take:
    """What one reading of a window found; times are on the window's clock."""

    sound: SoundTrack
    entered_s: float | None  # where the file was entered, on its own clock; None: at its beginning
    packets: "list[VideoPacket] | None" = field(default_factory=list)  # decode order; None: too many bytes to keep
    stamps: list[int | None] = field(default_factory=list)  # presentation time of each shown frame that was listed
    kept_bytes: int = 0
    first_dts: int | None = None
    first_key_s: float | None = None
    last_s: float = 0.0  # end of the last packet seen, even beyond the window
    read_errors: int = 0
    encrypted: bool = False


def read_window(container: InputContainer, tracks: Tracks, window: Window) -> Take:
    """Read the packets of `window` once, decoding the sound as it comes and listing the pictures.

    For a window that starts late the file is entered by its index, so the cost does not grow with `start_s`; where that
    lands behind the window's start it is entered farther before, and at last at the beginning.
    MediaRejected `too_large` if the window holds more frames than any camera makes.
    """
    for run_up in _RUN_UPS_S:
        if window.start_s > run_up and _seek(container, tracks, window.zero_s - run_up):
            take = _read(container, tracks, window, window.zero_s - run_up)
            entered = take.first_key_s if tracks.film else take.sound.first_s
            if entered is not None and entered <= 1e-3:
                return take
    if window.start_s > _RUN_UPS_S[0]:
        _seek(container, tracks, window.origin_s)
    return _read(container, tracks, window, None)


def video_packets(container: InputContainer, tracks: Tracks, window: Window, take: Take) -> "Iterator[VideoPacket]":
    """Yield the window's video packets in decode order, from memory or, where they were too many, from the file."""
    if take.packets is not None:
        yield from take.packets
        return
    _seek(container, tracks, window.origin_s if take.entered_s is None else take.entered_s)
    video_tick = tick(tracks.video)
    for packet in container.demux(tracks.video):
        at_s = _decode_time(packet, video_tick, window)
        if at_s is not None and at_s >= window.length_s:
            return
        if packet.size:
            yield packet


def _seek(container: InputContainer, tracks: Tracks, at_s: float) -> bool:
    """Enter the file at the last keyframe before `at_s` of its clock; False if the format cannot."""
    track = tracks.present[0]
    try:
        container.seek(int(at_s / track.time_base) if track.time_base else 0, stream=track)
    except MEDIA_ERRORS:
        return False
    return True


def _read(container: InputContainer, tracks: Tracks, window: Window, entered_s: float | None) -> Take:
    take = Take(SoundTrack(tracks.sound, window.zero_s, window.length_s), entered_s)
    ticks = {track.index: tick(track) for track in tracks.present}
    passed: dict[int, float] = {}  # how far each track has been read, of those read to the window's end
    for packet in _demux(container, tracks, take):
        at_s = _decode_time(packet, ticks[packet.stream_index], window)
        if at_s is not None and at_s >= window.length_s - _BEYOND_S:
            take.last_s = max(take.last_s, at_s + (packet.duration or 0) * ticks[packet.stream_index])
        if at_s is not None and at_s >= window.length_s:
            passed[packet.stream_index] = at_s
            over = len(passed) == len(ticks) and min(passed.values()) >= window.length_s + _BEYOND_S
            if over or at_s >= window.length_s + _BEYOND_S + _INTERLEAVE_S:
                break
            continue
        if tracks.sound is not None and packet.stream_index == tracks.sound.index:
            take.sound.take(cast("av.Packet[av.AudioStream]", packet))
        else:
            _list(cast("VideoPacket", packet), ticks[packet.stream_index], window, take)
    take.sound.take(None)
    return take


def _demux(container: InputContainer, tracks: Tracks, take: Take) -> "Iterator[av.Packet[Any]]":
    """Yield packets with content; a place that cannot be read is stepped over, a few times."""
    while take.read_errors <= _MAX_READ_ERRORS:
        try:
            for packet in container.demux(tracks.present):
                if packet.size:
                    yield packet
            return
        except MEDIA_ERRORS:
            take.read_errors += 1


def _list(packet: "VideoPacket", video_tick: float, window: Window, take: Take) -> None:
    """Keep a video packet and note when its frame is shown."""
    if packet.has_sidedata("encryption_info"):
        take.encrypted = True
    stamp = packet.pts if packet.pts is not None else packet.dts
    shown_s = None if stamp is None else stamp * video_tick - window.zero_s
    if take.first_dts is None:
        take.first_dts = packet.dts
    if packet.is_keyframe and take.first_key_s is None:
        take.first_key_s = shown_s
    if take.packets is not None:
        take.packets.append(packet)
        take.kept_bytes += packet.size
        if take.kept_bytes > _MAX_KEPT_BYTES:
            take.packets = None
    # An edit list keeps packets that are decoded for others' sake and not shown.
    if packet.is_discard or (shown_s is not None and not window.holds(shown_s)):
        return
    take.stamps.append(packet.pts)
    if len(take.stamps) > _MAX_FRAMES_PER_S * max(window.length_s, 1.0):
        raise MediaRejected("too_large", f"The window holds more than {_MAX_FRAMES_PER_S} frames a second.")


def _decode_time(packet: "av.Packet[Any]", tick_s: float, window: Window) -> float | None:
    """Return when a packet is due to be decoded, in seconds on the window's clock; None if the file does not say."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else stamp * tick_s - window.zero_s
