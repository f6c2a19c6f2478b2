"""What there is to say about a clip after it was read: its facts and the oddities that were handled."""

from dataclasses import dataclass, replace

import av
from av.container import InputContainer

from cavmae.media.clip import ClipSettings, MediaFacts
from cavmae.media.container import Tracks, seconds
from cavmae.media.film import Film
from cavmae.media.picture import is_static, variance_over_time
from cavmae.media.scan import Take, Window
from cavmae.media.sound import Waveform, level_dbfs, silent_share

# Seconds by which two lengths may differ before it is worth a note.
_SLACK_S = 0.5
_SOUND_SLACK_S = 0.1
_STRIP_ASPECT = 3.0


@dataclass(frozen=True)
class Reading:
    """One window of one open file, as it was read."""

    container: InputContainer
    tracks: Tracks
    window: Window
    take: Take
    file_bytes: int

    def cut_short(self) -> bool:
        """Tell whether the container's index points behind the end of the file, for samples of the window."""
        for track in self.tracks.present:
            for entry in track.index_entries:
                if seconds(entry.timestamp, track.time_base) - self.window.zero_s >= self.window.length_s:
                    break
                if entry.pos + entry.size > self.file_bytes:
                    return True
        return False

    def stated_s(self) -> float | None:
        """Return how much of the window the header says there is, in seconds, or None if it does not say."""
        track = self.tracks.present[0]
        if self.container.duration:
            whole_s = self.container.duration / 1_000_000
        elif track.duration:
            whole_s = seconds(track.duration, track.time_base)
        else:
            return None
        return min(whole_s - self.window.start_s, self.window.length_s)


def collect(film: Film | None, waveform: Waveform, reading: Reading, settings: ClipSettings) -> MediaFacts:
    """Return the facts of a clip from its pictures and its int16 waveform [samples]; of a part that is missing, zeros."""
    tracks, sound = reading.tracks, reading.take.sound
    sound_end_s = len(waveform) / settings.sample_rate
    sound_alone = MediaFacts(
        duration_s=sound_end_s,
        fps=0.0,
        frames_decoded=0,
        width=0,
        height=0,
        rotation=0,
        video_codec="",
        audio_codec=_codec(tracks.sound),
        sample_rate=sound.sample_rate,
        channels=sound.channels,
        audio_s=sound.seconds,
        level_dbfs=level_dbfs(waveform),
        silence=silent_share(waveform, settings.sample_rate, settings.silence_dbfs),
        frame_variance=0.0,
        notes=tuple(sorted(tracks.notes)),
    )
    if film is None:
        return sound_alone
    film_end_s = min(film.end_s, reading.window.length_s)
    duration_s = max(sound_end_s, film_end_s)
    variance = variance_over_time(film.frames)
    wide, high = film.size
    found = {
        "apply_rotation": film.orientation.changes,
        "audio_ends_early": sound_end_s < film_end_s / 2,
        "audio_padded": film_end_s - sound_end_s > _SOUND_SLACK_S,
        "audio_starts_late": sound.first_s is not None and sound.first_s > _SOUND_SLACK_S,
        "corrupted_frames": bool(film.damaged or reading.take.read_errors),
        "downmix": sound.channels > 2,
        "letterbox_or_crop": max(wide, high) > _STRIP_ASPECT * min(wide, high),
        "partial_audio": sound.errors > 0,
        "static_picture": is_static(variance),
        "variable_frame_rate": not film.constant_rate,
    }
    notes = tracks.notes | {word for word, is_so in found.items() if is_so}
    return replace(
        sound_alone,
        duration_s=duration_s,
        fps=film.fps,
        frames_decoded=len(film.times),
        width=wide,
        height=high,
        rotation=film.orientation.degrees,
        video_codec=_codec(tracks.film),
        frame_variance=variance,
        notes=tuple(sorted(notes | _length_notes(reading, duration_s, len(film.times)))),
    )


def _codec(track: av.VideoStream | av.AudioStream | None) -> str:
    return "" if track is None else track.codec_context.codec.canonical_name


def _length_notes(reading: Reading, duration_s: float, frames: int) -> set[str]:
    """Compare what was decoded with the window and with what the header promised."""
    window = reading.window
    if reading.take.last_s > window.length_s + _SLACK_S:
        return {"cropped"}
    notes = {"short_clip"} if duration_s < window.length_s - _SLACK_S else set()
    stated_s = reading.stated_s()
    promised = reading.tracks.video.frames if window.start_s <= 0 else 0
    if stated_s is None or abs(stated_s - duration_s) > _SLACK_S or promised > frames * 1.1 + 1:
        notes.add("truncated" if reading.cut_short() else "trust_decoded_duration")
    return notes
