"""Clips extracted earlier, in CAV-MAE's layout: a sound file, and one folder of pictures per frame index."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cavmae.media.clip import Clip, ClipSettings, MediaFacts, MediaRejected
from cavmae.media.container import MEDIA_ERRORS, check_sound, open_container, seconds
from cavmae.media.picture import Pixels, is_static, square, variance_over_time
from cavmae.media.sniff import sniff
from cavmae.media.sound import SoundTrack, level_dbfs, silent_share

# A sound file is read to its end, and this is far beyond any clip.
_LONGEST_S = 600.0
# a JPEG of a few hundred pixels that is larger carries something else along
_LARGEST_JPEG = 1 << 20
_ORIENTATION = 0x0112


def read_extracted(wav: Path, frames: Path, name: str, settings: ClipSettings) -> Clip:
    """Read a clip whose sound lies in `wav` and whose picture i lies in `frames`/frame_<i>/<name>.jpg.

    The sound may be of any format and rate (the published sets have 16 kHz WAV, some FLAC). Pictures of another size
    are resized and cropped as video frames are; where all are JPEGs of the wanted size they are kept as they lie there,
    because encoding them a second time would change them. `frames_decoded` counts the pictures; `fps` is their number
    over the clip's duration. MediaRejected if sound or a picture is missing or damaged: a missing picture is not replaced.
    """
    sniff(wav)
    try:
        with open_container(wav) as container:
            tracks = container.streams.audio
            if not tracks:
                raise MediaRejected("no_audio", "The sound file has no sound track.")
            track = tracks[0]
            check_sound(track)
            start_s = seconds(track.start_time, track.time_base) if track.start_time is not None else 0.0
            sound = SoundTrack(track, start_s, _LONGEST_S)
            for packet in container.demux(track):
                if packet.size:
                    sound.take(packet)
                if sound.last_s >= _LONGEST_S:
                    raise MediaRejected("too_large", f"The sound of one clip is longer than {_LONGEST_S:g} s.")
            sound.take(None)
            codec = track.codec_context.codec.canonical_name
            waveform = sound.render(settings.sample_rate)
    except MEDIA_ERRORS as error:
        raise MediaRejected("undecodable", f"Decoding the sound failed ({type(error).__name__}).") from error
    if not sound.seconds:
        raise MediaRejected("no_decodable_audio", "No packet of the sound file could be decoded.")
    pictures, size, jpegs = _read_pictures(frames, name, settings)
    duration_s = len(waveform) / settings.sample_rate
    level = level_dbfs(waveform)
    if duration_s < settings.min_duration_s:
        raise MediaRejected("too_short", f"Only {duration_s:.2f} s; {settings.min_duration_s} s are needed.")
    if level < settings.silence_dbfs:
        raise MediaRejected("silent_audio", f"The first channel is silent: {level:.1f} dBFS.")
    variance = variance_over_time(pictures)
    notes = {"partial_audio"} if sound.errors else set()
    notes |= {"downmix"} if sound.channels > 2 else set()
    notes |= {"static_picture"} if is_static(variance) else set()
    facts = MediaFacts(
        duration_s=duration_s,
        fps=settings.frames / duration_s,
        frames_decoded=settings.frames,
        width=size[0],
        height=size[1],
        rotation=0,
        video_codec="jpeg",
        audio_codec=codec,
        sample_rate=sound.sample_rate,
        channels=sound.channels,
        audio_s=sound.seconds,
        level_dbfs=level,
        silence=silent_share(waveform, settings.sample_rate, settings.silence_dbfs),
        frame_variance=variance,
        notes=tuple(sorted(notes)),
    )
    return Clip(pictures, waveform, facts, jpegs=jpegs)


def _read_pictures(folder: Path, name: str, settings: ClipSettings) -> tuple[Pixels, tuple[int, int], tuple[bytes, ...] | None]:
    """Return uint8 RGB [frames, image_size, image_size, 3], the first picture's width and height, and the files if all fit."""
    if not name or "/" in name or "\\" in name or "\0" in name:
        raise MediaRejected("missing_frames", "The clip's name is not the name of a file.")
    pictures: list[Pixels] = []
    jpegs: list[bytes] = []
    first = (0, 0)
    for index in range(settings.frames):
        path = folder / f"frame_{index}" / f"{name}.jpg"
        if not path.is_file():
            raise MediaRejected("missing_frames", f"The picture frame_{index}/{name}.jpg is missing.")
        sniff(path)
        try:
            with Image.open(path) as image:
                if image.width * image.height > settings.max_pixels:
                    raise MediaRejected("too_large", f"A picture of {image.width} x {image.height} is too large.")
                wanted = image.format == "JPEG" and image.mode == "RGB" and image.size == (settings.image_size,) * 2
                if wanted and image.getexif().get(_ORIENTATION, 1) == 1 and path.stat().st_size <= _LARGEST_JPEG:
                    jpegs.append(path.read_bytes())
                upright = ImageOps.exif_transpose(image).convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            detail = f"The picture frame_{index}/{name}.jpg is damaged ({type(error).__name__})."
            raise MediaRejected("undecodable", detail) from None
        first = first if index else upright.size
        pictures.append(square(np.asarray(upright), settings.image_size))
    return np.stack(pictures), first, tuple(jpegs) if len(jpegs) == len(pictures) else None
