"""Whole files to clips, on films rendered here."""

import dataclasses
import time
from pathlib import Path

import av
import numpy as np
import pytest

from cavmae.dataset.schema import FACTS
from cavmae.media.clip import NOTES, REASONS, ClipSettings, MediaFacts, MediaRejected
from cavmae.media.decode import read_clip
from tests.media.render import film, grey, index_of

EVERY_THIRD = [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]


def numbers(frames: np.ndarray) -> list[int]:
    return [index_of(picture) for picture in frames]


def test_facts_are_the_columns_of_the_facts_table() -> None:
    assert [field.name for field in dataclasses.fields(MediaFacts)] == [n for n in FACTS.names if n != "video_id"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov", "flv", "avi"])
def test_containers_give_the_same_clip(tmp_path: Path, settings: ClipSettings, suffix: str) -> None:
    clip = read_clip(film(tmp_path / f"a.{suffix}"), 0, 3, settings)
    assert numbers(clip.frames) == EVERY_THIRD
    assert clip.frames.dtype == np.uint8 and clip.waveform.dtype == np.int16
    assert len(clip.waveform) == pytest.approx(48000, abs=1700)
    assert clip.facts.frames_decoded == 30 and clip.facts.fps == pytest.approx(10)
    assert set(clip.facts.notes) <= NOTES


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_every_picture_comes_with_its_time_within_the_window(tmp_path: Path, settings: ClipSettings, suffix: str) -> None:
    path = film(tmp_path / f"a.{suffix}")
    clip = read_clip(path, 0, 3, settings)
    assert clip.times is not None
    np.testing.assert_allclose(clip.times, np.array(EVERY_THIRD) / 10, atol=0.01)
    later = read_clip(path, 1, 3, settings)
    assert later.times is not None
    np.testing.assert_allclose(later.times, (np.array(numbers(later.frames)) - 10) / 10, atol=0.01)
    early = read_clip(path, 0, 3, dataclasses.replace(settings, frame_index="official"))
    assert early.times is not None
    np.testing.assert_allclose(early.times, np.array(numbers(early.frames)) / 10, atol=0.01)


def test_official_index_is_one_frame_early(tmp_path: Path, settings: ClipSettings) -> None:
    official = dataclasses.replace(settings, frame_index="official")
    clip = read_clip(film(tmp_path / "a.mp4"), 0, 3, official)
    assert numbers(clip.frames) == [max(index - 1, 0) for index in EVERY_THIRD]


def test_longer_files_are_cut_and_shorter_ones_noted(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "a.mp4")
    cut = read_clip(path, 0, 2, settings)
    assert "cropped" in cut.facts.notes and len(cut.waveform) == 32000 and cut.facts.frames_decoded == 20
    whole = read_clip(path, 0, 10, settings)
    assert "short_clip" in whole.facts.notes and 2.9 < whole.facts.duration_s < 3.1


def test_a_file_without_stated_duration_is_read_and_noted(tmp_path: Path, settings: ClipSettings) -> None:
    clip = read_clip(film(tmp_path / "live.mkv", options={"live": "1"}), 0, 10, settings)
    assert numbers(clip.frames) == EVERY_THIRD and "trust_decoded_duration" in clip.facts.notes


def test_skipping_unused_frames_changes_no_pixel(tmp_path: Path, settings: ClipSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(0)
    scene = dice.integers(0, 256, (48, 200, 3), dtype=np.uint8)
    path = film(tmp_path / "a.mp4", paint=lambda index: scene[:, index * 2 : index * 2 + 64])
    fast = read_clip(path, 0, 3, settings)
    monkeypatch.setattr("cavmae.media.film._SKIPPABLE", frozenset())
    whole = read_clip(path, 0, 3, settings)
    assert (fast.frames == whole.frames).all() and fast.facts == whole.facts


@pytest.mark.parametrize("start", [0.0, 31.0])
def test_a_window_too_big_to_keep_is_read_again(
    tmp_path: Path, settings: ClipSettings, monkeypatch: pytest.MonkeyPatch, start: float
) -> None:
    path = film(tmp_path / "a.mp4", seconds=40.0)
    kept = read_clip(path, start, start + 3, settings)
    monkeypatch.setattr("cavmae.media.scan._MAX_KEPT_BYTES", 100)
    again = read_clip(path, start, start + 3, settings)
    assert (kept.frames == again.frames).all() and kept.facts == again.facts


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_late_window_shows_its_own_frames_and_sound(tmp_path: Path, settings: ClipSettings, suffix: str) -> None:
    path = film(tmp_path / f"long.{suffix}", seconds=40.0)
    late = read_clip(path, 30, 33, settings)
    assert numbers(late.frames) == EVERY_THIRD  # frame 300 and on, shown modulo 50
    assert len(late.waveform) == 48000
    whole = read_clip(path, 0, 34, settings).waveform[480000:528000].astype(np.float64)
    error = np.sqrt(np.mean((late.waveform - whole) ** 2)) / np.sqrt(np.mean(whole**2))
    assert error < 0.09  # the grids may differ by half a sample: pi * 440 / 16000 of a 440 Hz sine


def test_the_cost_of_a_late_window_does_not_grow(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "long.mp4", seconds=300.0)
    costs = []
    for start in (2.0, 290.0):
        begin = time.process_time()
        for _ in range(3):
            read_clip(path, start, start + 3, settings)
        costs.append(time.process_time() - begin)
    assert costs[1] < 3 * costs[0] + 0.05  # reading up to there would cost a hundred times as much


def test_a_window_behind_the_end_is_too_short(tmp_path: Path, settings: ClipSettings) -> None:
    with pytest.raises(MediaRejected) as rejected:
        read_clip(film(tmp_path / "a.mp4"), 50, 60, settings)
    assert rejected.value.reason == "too_short"


def test_late_sound_stays_late(tmp_path: Path, settings: ClipSettings) -> None:
    clip = read_clip(film(tmp_path / "a.mkv", sound_from_s=1.0, sound_s=2.0), 0, 3, settings)
    assert "audio_starts_late" in clip.facts.notes
    assert np.abs(clip.waveform[:15000]).max() < 50
    assert np.abs(clip.waveform[17600:32000]).max() > 5000
    assert clip.facts.audio_s == pytest.approx(2.0, abs=0.05)


def test_short_sound_is_noted_and_not_padded(tmp_path: Path, settings: ClipSettings) -> None:
    clip = read_clip(film(tmp_path / "a.mp4", sound_s=1.0), 0, 3, settings)
    assert {"audio_padded", "audio_ends_early"} <= set(clip.facts.notes)
    assert len(clip.waveform) < 17600


def test_rotation_is_undone(tmp_path: Path, settings: ClipSettings) -> None:
    def left_is_bright(index: int) -> np.ndarray:
        pixels = grey(0)
        pixels[:, :32] = 235
        return pixels

    clip = read_clip(film(tmp_path / "a.mp4", paint=left_is_bright, rotation=90), 0, 3, settings)
    assert (clip.facts.width, clip.facts.height, clip.facts.rotation) == (48, 64, 270)
    assert "apply_rotation" in clip.facts.notes
    # FFmpeg's angles are counter-clockwise: what was left is at the bottom
    assert clip.frames[0, -8:].mean() > 200 and clip.frames[0, :8].mean() < 60


def test_variable_frame_rate_is_sampled_by_time(tmp_path: Path, settings: ClipSettings) -> None:
    times = [*range(0, 1000, 50), 1500, 2000, 2900]
    clip = read_clip(film(tmp_path / "a.mp4", times_ms=times), 0, 3, settings)
    assert "variable_frame_rate" in clip.facts.notes
    shown = [times[number] / 1000 for number in numbers(clip.frames)]
    assert all(abs(at - step) <= 0.9 for at, step in zip(shown, np.arange(10) * 0.3, strict=True))
    assert shown[-1] >= 2.0  # by index it would be frame 20 of 23, at 1.5 s


def test_odd_sizes_and_ten_bits(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "a.mkv", paint=lambda index: grey(index, 67, 45), pix_fmt="yuv444p10le")
    clip = read_clip(path, 0, 3, settings)
    assert clip.frames.shape == (10, 32, 32, 3) and (clip.facts.width, clip.facts.height) == (67, 45)
    assert numbers(clip.frames) == EVERY_THIRD


def test_the_first_channel_is_taken(tmp_path: Path, settings: ClipSettings) -> None:
    stereo = read_clip(film(tmp_path / "a.mp4"), 0, 3, settings)
    mono = read_clip(film(tmp_path / "b.mp4", channels=1), 0, 3, settings)
    assert (stereo.facts.channels, mono.facts.channels) == (2, 1)
    assert stereo.facts.level_dbfs == pytest.approx(mono.facts.level_dbfs, abs=0.1)  # a mix would be 6 dB lower


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        ("silent_audio", {"amplitude": 0.0}),
        ("no_audio", {"sound_s": 0}),
        ("too_short", {"seconds": 0.3}),
    ],
)
def test_unusable_films_are_rejected_with_the_reason(
    tmp_path: Path, settings: ClipSettings, reason: str, how: dict[str, float]
) -> None:
    with pytest.raises(MediaRejected) as rejected:
        read_clip(film(tmp_path / "a.mp4", **how), 0, 10, settings)
    assert rejected.value.reason == reason and rejected.value.detail.endswith(".")


def test_a_frame_bomb_is_refused_before_it_is_decoded(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "a.mkv", seconds=0.6, paint=lambda index: grey(index, 640, 480))
    with pytest.raises(MediaRejected) as rejected:
        read_clip(path, 0, 10, dataclasses.replace(settings, max_pixels=100_000))
    assert rejected.value.reason in ("too_large", "undecodable", "no_decodable_video")


def test_every_cut_of_a_file_is_a_clip_or_a_rejection(tmp_path: Path, settings: ClipSettings) -> None:
    whole = film(tmp_path / "a.mp4", options={"movflags": "faststart"}).read_bytes()
    outcomes = set()
    for share in (1, 5, 20, 40, 60, 80, 99):
        path = tmp_path / f"cut{share}.mp4"
        path.write_bytes(whole[: len(whole) * share // 100])
        try:
            outcomes.add("truncated" if "truncated" in read_clip(path, 0, 3, settings).facts.notes else "clip")
        except MediaRejected as rejected:
            assert rejected.reason in REASONS
            outcomes.add(rejected.reason)
    assert {"truncated", "undecodable"} <= outcomes


def test_damage_never_crashes(tmp_path: Path, settings: ClipSettings) -> None:
    whole = film(tmp_path / "a.mp4").read_bytes()
    for seed in range(20):
        dice = np.random.default_rng(seed)
        data = np.frombuffer(whole, dtype=np.uint8).copy()
        places = dice.integers(0, len(data), 60)
        data[places] = dice.integers(0, 256, 60)
        path = tmp_path / "damaged.mp4"
        path.write_bytes(data.tobytes())
        try:
            clip = read_clip(path, 0, 3, settings)
        except MediaRejected as rejected:
            assert rejected.reason in REASONS
        else:
            assert clip.frames.shape == (10, 32, 32, 3) and set(clip.facts.notes) <= NOTES


def test_the_same_file_gives_the_same_clip(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "a.mp4")
    one, two = (read_clip(path, 0, 3, settings) for _ in range(2))
    assert (one.frames == two.frames).all() and (one.waveform == two.waveform).all() and one.facts == two.facts


def test_an_impossible_window_is_a_mistake_of_the_caller(tmp_path: Path, settings: ClipSettings) -> None:
    with pytest.raises(ValueError, match="window"):
        read_clip(tmp_path / "a.mp4", 3, 2, settings)


def without_picture(path: Path, seconds: float) -> Path:
    """The sound of a film of the same length and nothing else."""
    with av.open(str(film(path.with_suffix(".mp4"), seconds))) as source, av.open(str(path), "w") as out:
        track = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["m4a", "mka", "ts"])
def test_sound_without_picture_is_a_clip_for_whom_sound_is_enough(tmp_path: Path, settings: ClipSettings, suffix: str) -> None:
    path = without_picture(tmp_path / f"a.{suffix}", 40)
    with pytest.raises(MediaRejected, match="no_video"):
        read_clip(path, 0, 3, settings)
    with pytest.raises(MediaRejected, match="no_video"):
        read_clip(path, 0, 3, settings, ["picture"])
    for start in (0, 30):
        clip = read_clip(path, start, start + 3, settings, ["sound"])
        whole = read_clip(path.with_suffix(".mp4"), start, start + 3, settings)
        assert clip.frames.shape == (0, 32, 32, 3) and clip.times is None
        assert len(clip.waveform) == pytest.approx(len(whole.waveform), abs=1700)
        near = min(
            float(np.abs(clip.waveform[late : late + 40000].astype(int) - whole.waveform[early : early + 40000]).mean())
            for late, early in [(0, shift) for shift in range(0, 1100, 4)] + [(shift, 0) for shift in range(0, 1100, 4)]
        )
        assert near < 0.05 * np.abs(whole.waveform.astype(int)).mean(), "the same moment, but for the encoder's priming"
        assert clip.facts.duration_s == pytest.approx(3, abs=0.15) and clip.facts.frames_decoded == 0
    with pytest.raises(MediaRejected, match=r"too_short|no_audio"):
        read_clip(path, 60, 63, settings, ["sound", "picture"])


def test_pictures_without_sound_are_a_clip_for_whom_pictures_are_enough(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "a.mp4", sound_s=0)
    with pytest.raises(MediaRejected, match="no_audio"):
        read_clip(path, 0, 3, settings, ["sound"])
    clip = read_clip(path, 0, 3, settings, ["picture"])
    assert numbers(clip.frames) == EVERY_THIRD and clip.waveform.shape == (0,) and clip.times is not None
    assert clip.facts.duration_s == pytest.approx(3, abs=0.15) and clip.facts.audio_codec == ""


def test_a_window_behind_the_end_of_the_sound_has_pictures_alone(tmp_path: Path, settings: ClipSettings) -> None:
    path = film(tmp_path / "a.mp4", seconds=6, sound_s=2.0)
    with pytest.raises(MediaRejected, match=r"no_audio|no_decodable_audio"):
        read_clip(path, 3, 6, settings)
    late = read_clip(path, 3, 6, settings, ["picture", "sound"])
    assert len(late.frames) == 10 and not len(late.waveform)
    both, plain = read_clip(path, 0, 3, settings, ["picture", "sound"]), read_clip(path, 0, 3, settings)
    assert (both.frames == plain.frames).all() and (both.waveform == plain.waveform).all() and both.facts == plain.facts
