"""Opening a file with FFmpeg's demuxers and choosing the tracks to read."""

from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream

from cavmae.media.clip import MediaRejected, Part

# FFmpeg reports broken input on stderr and in exceptions; the exceptions are enough.
av.logging.set_level(None)

MEDIA_ERRORS = (av.FFmpegError, ValueError, OverflowError, MemoryError, OSError)
"""What PyAV raises when a file is at fault."""

_MAX_SAMPLE_RATE = 768_000  # Hz, twice the highest rate of any converter in use
_MAX_CHANNELS = 64
_NOT_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@dataclass(frozen=True)
class Tracks:
    """The picture track and the sound track to read, one of which may be missing, and what was noted while choosing them."""

    film: av.VideoStream | None
    sound: av.AudioStream | None
    notes: set[str] = field(default_factory=set)

    @property
    def present(self) -> tuple[av.VideoStream | av.AudioStream, ...]:
        """Those that are there, the picture first."""
        return tuple(track for track in (self.film, self.sound) if track is not None)

    @property
    def video(self) -> av.VideoStream:
        """The picture track, where it is known to be there."""
        assert self.film is not None
        return self.film

    @property
    def origin_s(self) -> float:
        """Where the presentation begins on the file's own clock, in seconds."""
        starts = [seconds(track.start_time, track.time_base) for track in self.present if track.start_time is not None]
        return min(starts, default=0.0)


def tick(track: Stream) -> float:
    """Return the length of one unit of a track's time stamps, in seconds."""
    return float(track.time_base) if track.time_base else 0.0


def seconds(stamp: int, time_base: Fraction | None) -> float:
    """Return a time stamp in seconds."""
    return float(stamp * time_base) if time_base else 0.0


def open_container(path: Path, max_pixels: int | None = None) -> InputContainer:
    """Open a media file; MediaRejected `undecodable` if no demuxer can read it.

    FFmpeg may open nothing but this file, and allocates no frame of more than `max_pixels` pixels while probing.
    """
    options = {"protocol_whitelist": "file"}
    if max_pixels is not None:
        options["max_pixels"] = str(max_pixels)
    try:
        # An absolute path cannot be taken for an option or a protocol, whatever the file is called.
        return av.open(str(path.absolute()), "r", options=options, metadata_errors="replace")
    except MEDIA_ERRORS as error:
        raise MediaRejected("undecodable", f"No demuxer can open the file ({type(error).__name__}).") from None


def choose_tracks(container: InputContainer, max_pixels: int, alone: Collection[Part] = ()) -> Tracks:
    """Choose the tracks that a player would choose, among those that can be decoded and hold data.

    Cover pictures are not video. What is `alone` enough need not come with the other part. MediaRejected with `undecodable`,
    `no_video`, `no_audio`, `no_decodable_video`, `no_decodable_audio`, or `too_large` for frames, sample rates and channel
    numbers beyond anything real.
    """
    films: list[Stream] = [track for track in container.streams.video if not track.disposition & _NOT_FILM]
    sounds: list[Stream] = list(container.streams.audio)
    if not films and not sounds:
        raise MediaRejected("undecodable", "The container opens but holds neither picture nor sound.")
    notes: set[str] = set()
    film = sound = None
    if films:
        film = _choose(container.streams.best("video"), films, "no_decodable_video", "picture", notes)
    elif "sound" not in alone:
        raise MediaRejected("no_video", "The file has sound but no moving picture.")
    if sounds:
        sound = _choose(container.streams.best("audio"), sounds, "no_decodable_audio", "sound", notes)
    elif "picture" not in alone:
        raise MediaRejected("no_audio", "The file has no sound track.")
    if not isinstance(film, av.VideoStream | None) or not isinstance(sound, av.AudioStream | None):
        raise MediaRejected("undecodable", "The tracks are of no known kind.")
    if film is not None:
        size = film.codec_context
        if size.width * size.height > max_pixels:
            raise MediaRejected("too_large", f"Frames of {size.width} x {size.height} exceed {max_pixels} pixels.")
        # A pool of processes keeps the cores busy; threads inside each would only get in its way.
        film.codec_context.thread_count = 1
        film.codec_context.options = {**film.codec_context.options, "max_pixels": str(max_pixels)}
    if sound is not None:
        check_sound(sound)
    tracks = Tracks(film, sound, notes)
    for stream in container.streams:
        if stream.index not in [track.index for track in tracks.present]:
            stream.discard = Discard.all
    return tracks


def check_sound(track: av.AudioStream) -> None:
    """Raise MediaRejected for a sound track without a decoder, or of a rate or channel number beyond anything real."""
    if track.codec_context is None:
        raise MediaRejected("no_decodable_audio", "No decoder is known for the sound track.")
    if track.codec_context.sample_rate > _MAX_SAMPLE_RATE or track.codec_context.channels > _MAX_CHANNELS:
        raise MediaRejected("too_large", "The sample rate or the number of channels is beyond anything real.")


def _choose(best: Stream | None, tracks: list[Stream], reason: str, kind: str, notes: set[str]) -> Stream:
    """Return the best track, or the first one that can be decoded and is not known to be empty."""
    usable = [track for track in tracks if track.codec_context is not None]
    if not usable:
        raise MediaRejected(reason, f"No decoder is known for the {kind} track.")
    # Only a sample table (as MP4 has) tells before reading that a track is empty.
    counted = any(track.frames for track in usable)
    filled = [track for track in usable if track.frames or not counted] or usable
    chosen = next((track for track in filled if best is not None and track.index == best.index), filled[0])
    if len(filled) < len(tracks):
        notes.add("use_first_decodable_track")
    elif len(filled) > 1:
        notes.add("choose_default_track")
    return chosen
