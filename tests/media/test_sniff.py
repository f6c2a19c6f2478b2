"""What is recognised before any decoder runs."""

import os
from pathlib import Path

import pytest

from cavmae.media.clip import MediaRejected
from cavmae.media.sniff import media_duration, sniff
from tests.media.render import film


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "not_media"),
        (b"<!DOCTYPE html><html>404</html>", "not_media"),
        (b"#EXTM3U\n#EXTINF:10,\nhttp://example.invalid/a.ts\n", "not_media"),
        ("Überschrift ♫ ".encode() * 500, "not_media"),
    ],
)
def test_content_that_is_no_media_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaRejected) as rejected:
        sniff(path)
    assert rejected.value.reason == reason


def test_a_missing_file_a_folder_and_a_pipe_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in (("gone.mp4", "unreadable_file"), (".", "not_media"), ("pipe.mp4", "not_media")):
        with pytest.raises(MediaRejected) as rejected:
            sniff(tmp_path / name)
        assert rejected.value.reason == reason


def test_a_link_to_a_film_is_a_film(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", seconds=1.0)
    (tmp_path / "-b.mp4").symlink_to(tmp_path / "a.mp4")
    assert media_duration(tmp_path / "-b.mp4") == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_stated_duration_is_given_where_the_content_bears_it_out(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"a.{suffix}", seconds=20.0)
    assert media_duration(path) == pytest.approx(20.0, abs=0.2)


def test_a_file_cut_short_and_a_live_stream_have_no_trustworthy_duration(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mp4", seconds=20.0, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert media_duration(cut) is None
    assert media_duration(film(tmp_path / "live.mkv", options={"live": "1"})) is None
