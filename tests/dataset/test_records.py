"""A clip as members of a shard: the sound to the sample, the pictures as JPEG, damage in one line."""

import io

import numpy as np
import pytest
from PIL import Image

from cavmae.dataset.records import decode_frame, decode_waveform, encode_clip, frame_count, read_facts
from cavmae.errors import StepFailed
from cavmae.media.clip import Clip, MediaFacts

FACTS = MediaFacts(1.0, 10.0, 10, 64, 48, 0, "h264", "aac", 44100, 2, 1.0, -20.0, 0.0, 5.0, ("downmix",))


@pytest.fixture
def clip() -> Clip:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:32, 0:32]
    frames = np.stack([np.stack([8 * y, 8 * x, np.full_like(x, 60 * index)], -1) for index in range(3)]).astype(np.uint8)
    return Clip(frames, rng.integers(-32768, 32768, 16000, dtype=np.int16), FACTS)


def test_the_sound_survives_to_the_sample(clip: Clip) -> None:
    assert np.array_equal(decode_waveform(encode_clip(clip, 16000, 90)), clip.waveform)


def test_pictures_survive_but_for_what_jpeg_takes(clip: Clip) -> None:
    members = encode_clip(clip, 16000, 95)
    assert frame_count(members) == 3
    for index in range(3):
        assert np.abs(decode_frame(members, index, 32).astype(int) - clip.frames[index]).mean() < 4


def test_facts_travel_with_the_clip(clip: Clip) -> None:
    facts = read_facts(encode_clip(clip, 16000, 90))
    assert (facts["sample_rate"], facts["video_codec"], facts["notes"]) == (44100, "h264", ["downmix"])


def test_the_same_clip_gives_the_same_bytes_in_the_same_order(clip: Clip) -> None:
    one, two = encode_clip(clip, 16000, 90), encode_clip(clip, 16000, 90)
    assert list(one.items()) == list(two.items())
    assert list(one) == ["json", "wav", "0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize("size", [16, 32, 48])
def test_a_frame_comes_in_the_size_asked_for(clip: Clip, size: int) -> None:
    assert decode_frame(encode_clip(clip, 16000, 90), 1, size).shape == (size, size, 3)


def test_a_wide_frame_is_cropped_in_the_middle() -> None:
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 255
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    assert decode_frame({"0.jpg": buffer.getvalue()}, 0, 20).mean() > 240


@pytest.mark.parametrize("keep", [0, 3, 20, 200])
def test_damaged_members_are_said_in_one_line(clip: Clip, keep: int) -> None:
    members = {name: content[:keep] for name, content in encode_clip(clip, 16000, 90).items()}
    with pytest.raises(StepFailed, match=r"1\.jpg in the shards is damaged"):
        decode_frame(members, 1, 32)
    if keep < 44:
        with pytest.raises(StepFailed, match="wav in the shards is damaged"):
            decode_waveform(members)


def test_missing_members_are_said_in_one_line() -> None:
    with pytest.raises(StepFailed, match=r"0\.jpg in the shards is damaged"):
        decode_frame({}, 0, 32)
    with pytest.raises(StepFailed, match="wav in the shards is damaged"):
        decode_waveform({})
