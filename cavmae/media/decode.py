"""A video file and a window to a clip: the one function that the pipeline calls for each file."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from cavmae.media.clip import Clip, ClipSettings, MediaRejected, Part
from cavmae.media.container import MEDIA_ERRORS, choose_tracks, open_container
from cavmae.media.facts import Reading, collect
from cavmae.media.film import Film, read_film
from cavmae.media.scan import Window, read_window
from cavmae.media.sniff import sniff

_MIN_SOUND_S = 0.1  # less holds hardly one frame of a spectrogram


def read_clip(path: Path, start_s: float, end_s: float, settings: ClipSettings, alone: Collection[Part] = ()) -> Clip:
    """Read the window [start_s, end_s) seconds of a video file's presentation as a clip.

    A file that ends within the window gives what there is. Frames are chosen by `frame_times.choose_frames`; sound is
    the first channel, resampled by FFmpeg, and stands on the same clock as the pictures. The file is read once, memory
    does not grow with its length, and nothing in its headers is believed that its packets contradict.
    Anything wrong with the file raises MediaRejected; a window that ends before it begins raises ValueError. Of a file, or a
    window, that has only one of sound and picture, and that one is `alone` enough, the clip holds no more.
    """
    if not 0 <= start_s < end_s:
        raise ValueError(f"a window must begin at 0 or later and end after that, not [{start_s}, {end_s})")
    sniff(path)
    try:
        with open_container(path, settings.max_pixels) as container:
            tracks = choose_tracks(container, settings.max_pixels, alone)
            window = Window(start_s, end_s, tracks.origin_s)
            take = read_window(container, tracks, window)
            return _develop(Reading(container, tracks, window, take, path.stat().st_size), settings, alone)
    except MEDIA_ERRORS as error:
        raise MediaRejected("undecodable", f"Decoding failed ({type(error).__name__}).") from error


def _develop(reading: Reading, settings: ClipSettings, alone: Collection[Part]) -> Clip:
    """Turn what was read into a clip, or reject it."""
    sound = reading.take.sound
    try:
        film = _read_film(reading, settings, "sound" in alone and sound.seconds > 0)
        if not sound.seconds and (film is None or "picture" not in alone):
            if sound.packets:
                raise MediaRejected("no_decodable_audio", "No packet of the sound track could be decoded.")
            raise MediaRejected("no_audio", "The sound track holds nothing within the window.")
    except MediaRejected as rejected:
        if rejected.reason in ("no_decodable_video", "no_decodable_audio", "no_audio"):
            rejected = _explain(rejected, reading)
        raise rejected from None
    waveform = sound.render(settings.sample_rate)
    mute = film is not None and "picture" in alone and sound.seconds < _MIN_SOUND_S
    if mute:
        waveform = waveform[:0]
    facts = collect(film, waveform, reading, settings)
    if facts.duration_s < settings.min_duration_s:
        raise MediaRejected("too_short", f"Only {facts.duration_s:.2f} s; {settings.min_duration_s} s are needed.")
    if facts.audio_s < _MIN_SOUND_S and not mute:
        raise MediaRejected("too_short", f"Only {facts.audio_s:.3f} s of sound; {_MIN_SOUND_S} s are needed.")
    if facts.level_dbfs < settings.silence_dbfs and not mute:
        raise MediaRejected("silent_audio", f"The first channel is silent: {facts.level_dbfs:.1f} dBFS.")
    if film is None:
        return Clip(np.zeros((0, settings.image_size, settings.image_size, 3), np.uint8), waveform, facts)
    return Clip(film.frames, waveform, facts, film.times[film.chosen])


def _read_film(reading: Reading, settings: ClipSettings, spare: bool) -> Film | None:
    """Read the pictures; None where there are none and they can be `spare`d."""
    if reading.tracks.film is None:
        return None
    try:
        return read_film(reading.container, reading.tracks, reading.window, reading.take, settings)
    except MediaRejected as rejected:
        if spare and rejected.reason == "no_decodable_video":
            return None
        raise


def _explain(rejected: MediaRejected, reading: Reading) -> MediaRejected:
    """Return the reason behind nothing being decoded: encryption, a file cut short, a window behind the end."""
    if reading.take.encrypted:
        return MediaRejected("undecodable", "The tracks are encrypted.")
    if reading.cut_short():
        return MediaRejected("truncated", "The file ends before the data that its index points to.")
    if reading.window.start_s > 0 and not reading.take.stamps:
        return MediaRejected("too_short", f"The file ends before the window, at {reading.window.start_s:g} s, begins.")
    return rejected
