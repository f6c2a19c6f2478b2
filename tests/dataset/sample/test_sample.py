"""The sample set's files: planned evenly, rendered the same at every run, real MP4s, and the broken ones broken."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from cavmae.dataset.sample import SampleSettings, plan, render, render_broken
from cavmae.errors import InputError

SETTINGS = SampleSettings(clips=800, broken=True, seconds=2.0, size=64, fps=8, sample_rate=16000, seed=0, shared_facts=True)


def decoded(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return frames, np.concatenate(sound, axis=1)


def test_every_split_holds_every_class_equally_often() -> None:
    counts = Counter((clip.split, clip.label) for clip in plan(SETTINGS))
    assert len(counts) == 24
    assert {counts[key] for key in counts if key[0] == "train"} == {80}
    assert {counts[key] for key in counts if key[0] != "train"} == {10}


def test_names_are_unique() -> None:
    assert len({clip.name for clip in plan(SETTINGS)}) == 800


def test_a_clip_does_not_depend_on_the_number_of_clips() -> None:
    assert plan(replace(SETTINGS, clips=48)) == plan(SETTINGS)[:48]


@pytest.mark.parametrize("change", [{"clips": 23}, {"size": 65}, {"seconds": 0.01}, {"fps": 0}, {"sample_rate": 9}])
def test_impossible_settings_are_the_users_error(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"sample set: {next(iter(change))} is"):
        plan(replace(SETTINGS, **change))


def test_rendering_twice_gives_the_same_bytes_and_other_seeds_others(tmp_path: Path) -> None:
    for clip in plan(SETTINGS)[8:24]:
        contents = []
        for settings in (SETTINGS, SETTINGS, SETTINGS, SETTINGS, replace(SETTINGS, seed=1)):
            render(clip, settings, tmp_path / "clip.mp4")
            contents.append((tmp_path / "clip.mp4").read_bytes())
        assert len(set(contents[:4])) == 1
        assert contents[4] != contents[0]
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_rendered_clip_is_a_real_mp4(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    render(plan(SETTINGS)[3], SETTINGS, path)
    with av.open(str(path)) as container:
        assert {stream.codec_context.name for stream in container.streams} == {"h264", "aac"}
        assert container.streams.audio[0].codec_context.sample_rate == 16000
    frames, sound = decoded(path)
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 16
    assert sound.shape[1] / 16000 == pytest.approx(2.0, abs=0.1)
    assert np.sqrt(np.mean(sound**2)) > 0.003


def test_broken_files_are_broken_as_announced(tmp_path: Path) -> None:
    reasons = dict(render_broken(SETTINGS, tmp_path))
    assert sorted(reasons) == sorted(path.name for path in tmp_path.iterdir())
    opened = {}
    for name in reasons:
        try:
            with av.open(str(tmp_path / name)) as container:
                opened[name] = {stream.type for stream in container.streams}
        except av.error.InvalidDataError:
            opened[name] = None
    both = {"video", "audio"}
    assert {name: (reasons[name], kinds) for name, kinds in opened.items()} == {
        "broken_no_sound.mp4": ("no_audio", {"video"}),
        "broken_no_picture.mp4": ("no_video", {"audio"}),
        "broken_silent.mp4": ("silent_audio", both),
        "broken_cut_short.mp4": ("truncated", both),
        "broken_scrambled.mp4": ("no_decodable_video", both),
        "broken_no_header.mp4": ("undecodable", None),
        "broken_web_page.mp4": ("not_media", None),
        "broken_empty.mp4": ("empty_file", None),
    }
    assert np.abs(decoded(tmp_path / "broken_silent.mp4")[1]).max() < 1e-4
    for name in ("broken_cut_short.mp4", "broken_scrambled.mp4"):
        with pytest.raises(av.error.InvalidDataError):
            decoded(tmp_path / name)


def test_broken_files_come_only_when_asked_for(tmp_path: Path) -> None:
    assert render_broken(replace(SETTINGS, broken=False), tmp_path) == []
    assert list(tmp_path.iterdir()) == []
