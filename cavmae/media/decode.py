"""A video file and a window to a clip: the one function that the pipeline calls for each file."""

from pathlib import Path

from cavmae.media.clip import Clip, ClipSettings, MediaRejected
from cavmae.media.container import MEDIA_ERRORS, choose_tracks, open_container
from cavmae.media.facts import Reading, collect
from cavmae.media.film import read_film
from cavmae.media.scan import Window, read_window
from cavmae.media.sniff import sniff

_MIN_SOUND_S = 0.1  # less holds hardly one frame of a spectrogram


def read_clip(path: Path, start_s: float, end_s: float, settings: ClipSettings) -> Clip:
    """Read the window [start_s, end_s) seconds of a video file's presentation as a clip.

    A file that ends within the window gives what there is. Frames are chosen by `frame_times.choose_frames`; sound is
    the first channel, resampled by FFmpeg, and stands on the same clock as the pictures. The file is read once, memory
    does not grow with its length, and nothing in its headers is believed that its packets contradict.
    Anything wrong with the file raises MediaRejected; a window that ends before it begins raises ValueError.
    """
    if not 0 <= start_s < end_s:
        raise ValueError(f"a window must begin at 0 or later and end after that, not [{start_s}, {end_s})")
    sniff(path)
    try:
        with open_container(path, settings.max_pixels) as container:
            tracks = choose_tracks(container, settings.max_pixels)
            window = Window(start_s, end_s, tracks.origin_s)
            take = read_window(container, tracks, window)
            return _develop(Reading(container, tracks, window, take, path.stat().st_size), settings)
    except MEDIA_ERRORS as error:
        raise MediaRejected("undecodable", f"Decoding failed ({type(error).__name__}).") from error


def _develop(reading: Reading, settings: ClipSettings) -> Clip:
    """Turn what was read into a clip, or reject it."""
    sound = reading.take.sound
    try:
        film = read_film(reading.container, reading.tracks, reading.window, reading.take, settings)
        if not sound.seconds and sound.packets:
            raise MediaRejected("no_decodable_audio", "No packet of the sound track could be decoded.")
        if not sound.seconds:
            raise MediaRejected("no_audio", "The sound track holds nothing within the window.")
    except MediaRejected as rejected:
        if rejected.reason in ("no_decodable_video", "no_decodable_audio", "no_audio"):
            rejected = _explain(rejected, reading)
        raise rejected from None
    waveform = sound.render(settings.sample_rate)
    facts = collect(film, waveform, reading, settings)
    if facts.duration_s < settings.min_duration_s:
        raise MediaRejected("too_short", f"Only {facts.duration_s:.2f} s; {settings.min_duration_s} s are needed.")
    if facts.audio_s < _MIN_SOUND_S:
        raise MediaRejected("too_short", f"Only {facts.audio_s:.3f} s of sound; {_MIN_SOUND_S} s are needed.")
    if facts.level_dbfs < settings.silence_dbfs:
        raise MediaRejected("silent_audio", f"The first channel is silent: {facts.level_dbfs:.1f} dBFS.")
    return Clip(film.frames, waveform, facts, film.times[film.chosen])


def _explain(rejected: MediaRejected, reading: Reading) -> MediaRejected:
    """Return the reason behind nothing being decoded: encryption, a file cut short, a window behind the end."""
    if reading.take.encrypted:
        return MediaRejected("undecodable", "The tracks are encrypted.")
    if reading.cut_short():
        return MediaRejected("truncated", "The file ends before the data that its index points to.")
    if reading.window.start_s > 0 and not reading.take.stamps:
        return MediaRejected("too_short", f"The file ends before the window, at {reading.window.start_s:g} s, begins.")
    return rejected
