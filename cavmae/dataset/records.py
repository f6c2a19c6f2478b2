"""A clip as the members of a shard: ten JPEG frames, one 16-bit mono WAV, one JSON with its facts."""

import io
import json
import wave
from dataclasses import asdict

import numpy as np
from PIL import Image

from cavmae.errors import StepFailed
from cavmae.media.clip import Clip
from cavmae.storage import to_json

WAV_HEAD = 44  # bytes before the samples


def encode_clip(clip: Clip, sample_rate: int, jpeg_quality: int) -> dict[str, bytes]:
    """Return `{suffix: content}` in the order in which a shard holds them: json, wav, 0.jpg, 1.jpg, ..."""
    members = {
        "json": to_json({"sample_rate": sample_rate, **asdict(clip.facts)}).encode(),
        "wav": encode_wav(clip.waveform, sample_rate),
    }
    for index, frame in enumerate(clip.frames):
        if clip.jpegs is not None:
            members[f"{index}.jpg"] = clip.jpegs[index]
            continue
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=jpeg_quality, subsampling="4:2:0")
        members[f"{index}.jpg"] = buffer.getvalue()
    return members


def decode_waveform(members: dict[str, bytes]) -> np.ndarray:
    """Return the int16 waveform [samples]; raises StepFailed for a damaged one."""
    try:
        with wave.open(io.BytesIO(members["wav"])) as file:
            return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    except (KeyError, EOFError, ValueError, wave.Error) as error:
        raise _damaged("wav", error) from None


def decode_frame(members: dict[str, bytes], index: int, size: int) -> np.ndarray:
    """Return frame `index` as uint8 RGB [size, size, 3]; a stored frame of another size is resized (bicubic) and cropped.

    Raises StepFailed for a damaged one.
    """
    name = f"{index}.jpg"
    if name not in members:
        raise _damaged(name, KeyError(name))
    return decode_picture(members[name], name, size)


def decode_picture(content: bytes, name: str, size: int) -> np.ndarray:
    """Return a frame as `decode_frame`, of its content and the name it has in the shard."""
    try:
        with Image.open(io.BytesIO(content)) as file:
            file.load()
            picture: Image.Image = file if file.mode == "RGB" else file.convert("RGB")
            if picture.size != (size, size):
                picture = resize_and_crop(picture, size)
            # faster than numpy's own way through the array interface
            return np.frombuffer(picture.tobytes(), dtype=np.uint8).reshape(size, size, 3)
    except (OSError, ValueError, SyntaxError) as error:
        raise _damaged(name, error) from None


def resize_and_crop(picture: Image.Image, size: int) -> Image.Image:
    """Bring the short side to `size` pixels (bicubic) and cut the middle out, with the original's rounding to the pixel."""
    short = min(picture.size)
    width, height = (size * side // short for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


def frame_count(members: dict[str, bytes]) -> int:
    """Number of frames that the clip holds."""
    return sum(suffix.endswith(".jpg") for suffix in members)


def read_facts(members: dict[str, bytes]) -> dict[str, object]:
    """Return the clip's media facts as stored beside it."""
    facts: dict[str, object] = json.loads(members["json"])
    return facts


def _damaged(member: str, error: Exception) -> StepFailed:
    return StepFailed(
        f"a clip's {member} in the shards is damaged ({type(error).__name__}); delete the shards and run extract again"
    )


def is_plain_wav(head: bytes, size: int) -> bool:
    """Tell whether a WAV of `size` bytes that begins with `head` is as `encode_wav` writes it: samples after 44 bytes."""
    # RIFF, then a format of 16 bytes: 1 PCM, 1 channel; 2 bytes a sample of 16 bits; then the samples to the end
    return (
        head[:4] == b"RIFF"
        and head[8:16] == b"WAVEfmt "
        and head[16:24] == b"\x10\0\0\0\x01\0\x01\0"
        and head[32:40] == b"\x02\0\x10\0data"
        and int.from_bytes(head[40:44], "little") == size - WAV_HEAD
    )


def encode_wav(waveform: np.ndarray, sample_rate: int) -> bytes:
    """Return a 16-bit mono WAV file of an int16 waveform [samples]."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(waveform.astype("<i2").tobytes())
    return buffer.getvalue()
