"""Clips in CAV-MAE's own layout."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cavmae.media.clip import ClipSettings, MediaRejected
from cavmae.media.extracted import read_extracted

NAME = "00W1lcxW-WU_40.000"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    wave = (8000 * np.sin(np.arange(32000) * 0.1)).astype(np.int16)
    with av.open(str(tmp_path / f"{NAME}.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    for index in range(10):
        (tmp_path / f"frame_{index}").mkdir()
        Image.new("RGB", (60, 40), (20 * index, 100, 50)).save(tmp_path / f"frame_{index}" / f"{NAME}.jpg")
    return tmp_path


def test_sound_comes_back_to_the_bit_and_pictures_in_order(layout: Path, settings: ClipSettings) -> None:
    clip = read_extracted(layout / f"{NAME}.wav", layout, NAME, settings)
    assert (clip.waveform == (8000 * np.sin(np.arange(32000) * 0.1)).astype(np.int16)).all()
    assert clip.frames.shape == (10, 32, 32, 3)
    assert [round(float(frame[..., 0].mean()) / 20) for frame in clip.frames] == list(range(10))
    facts = clip.facts
    assert (facts.duration_s, facts.fps, facts.width, facts.height, facts.video_codec) == (2.0, 5.0, 60, 40, "jpeg")


def test_a_missing_picture_is_not_replaced(layout: Path, settings: ClipSettings) -> None:
    (layout / "frame_7" / f"{NAME}.jpg").unlink()
    with pytest.raises(MediaRejected, match=r"missing_frames.*frame_7"):
        read_extracted(layout / f"{NAME}.wav", layout, NAME, settings)


def test_a_damaged_picture_and_a_damaged_sound_are_refused(layout: Path, settings: ClipSettings) -> None:
    picture = layout / "frame_3" / f"{NAME}.jpg"
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(MediaRejected, match="undecodable"):
        read_extracted(layout / f"{NAME}.wav", layout, NAME, settings)
    (layout / f"{NAME}.wav").write_bytes(b"\x00RIFF" * 50)
    with pytest.raises(MediaRejected, match="undecodable"):
        read_extracted(layout / f"{NAME}.wav", layout, NAME, settings)


def test_a_name_cannot_leave_the_folder(layout: Path, settings: ClipSettings) -> None:
    with pytest.raises(MediaRejected, match="missing_frames"):
        read_extracted(layout / f"{NAME}.wav", layout, f"../frame_0/{NAME}", settings)


def test_pictures_of_the_wanted_size_are_kept_as_they_lie_there(layout: Path, settings: ClipSettings) -> None:
    def save(index: int, **how: object) -> bytes:
        path = layout / f"frame_{index}" / f"{NAME}.jpg"
        noise = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path, quality=75, **how)  # type: ignore[arg-type]
        return path.read_bytes()

    files = tuple(save(index) for index in range(10))
    clip = read_extracted(layout / f"{NAME}.wav", layout, NAME, settings)
    assert clip.jpegs == files
    turned = Image.Exif()
    turned[0x0112] = 6
    save(4, exif=turned.tobytes())
    assert read_extracted(layout / f"{NAME}.wav", layout, NAME, settings).jpegs is None, (
        "one must be turned: all are encoded anew"
    )


def test_pictures_of_another_size_or_format_are_encoded_anew(layout: Path, settings: ClipSettings) -> None:
    assert read_extracted(layout / f"{NAME}.wav", layout, NAME, settings).jpegs is None
    for index in range(10):
        Image.new("L", (32, 32), 20 * index).save(layout / f"frame_{index}" / f"{NAME}.jpg")
    assert read_extracted(layout / f"{NAME}.wav", layout, NAME, settings).jpegs is None
