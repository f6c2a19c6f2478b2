"""Tar shards: bytes that depend on the members alone, and damage that is said in one line."""

import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cavmae.dataset.tar import Shard, ShardWriter, parse_members, read_clip_members
from cavmae.errors import StepFailed
from cavmae.stores import open_store


def local(path: Path) -> Shard:
    return Shard(open_store(str(path.parent)), path.name)


CLIPS = {"a-1": {"json": b"{}", "wav": b"x" * 700, "0.jpg": b""}, "b" * 85: {"json": b"[]" * 256, "0.jpg": b"\xff" * 512}}


def written(path: Path) -> dict[str, tuple[int, int]]:
    with path.open("wb") as file:
        writer = ShardWriter(file)
        places = {video_id: writer.add_clip(video_id, members) for video_id, members in CLIPS.items()}
        writer.close()
    return places


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    places = written(tmp_path / "s.tar")
    assert {video_id: read_clip_members(local(tmp_path / "s.tar"), *place) for video_id, place in places.items()} == CLIPS


def test_any_tar_reader_sees_the_members(tmp_path: Path) -> None:
    written(tmp_path / "s.tar")
    with tarfile.open(tmp_path / "s.tar") as file:
        assert {info.name: file.extractfile(info).read() for info in file.getmembers()} == {  # type: ignore[union-attr]
            f"{video_id}.{suffix}": content for video_id, members in CLIPS.items() for suffix, content in members.items()
        }


def test_bytes_depend_on_no_time_user_or_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "one.tar")
    monkeypatch.setattr(time, "time", lambda: 1e9)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    old = os.umask(0o077)
    try:
        written(tmp_path / "two.tar")
    finally:
        os.umask(old)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as file:
        assert {(info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) for info in file} == {
            (0, 0, 0, "", "", 0o644)
        }


@given(st.dictionaries(st.from_regex(r"[a-z0-9.]{1,6}", fullmatch=True), st.binary(max_size=1200), min_size=1, max_size=4))
def test_any_members_survive(members: dict[str, bytes]) -> None:
    file = io.BytesIO()
    place = ShardWriter(file).add_clip("clip", members)
    assert place == (0, len(file.getvalue())) and parse_members(file.getvalue()) == members


def test_a_shard_that_was_cut_short_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    offset, length = written(path)["a-1"]
    whole = path.read_bytes()
    for end in range(offset, offset + length, 256):
        path.write_bytes(whole[:end])
        with pytest.raises(StepFailed, match=r"s\.tar, byte 0: shard does not match its index .*run `cavmae extract` again"):
            read_clip_members(local(path), offset, length)


@pytest.mark.parametrize("at", [0, 3, 124, 130, 148, 155, 257, 511])
def test_any_damage_to_a_header_is_seen(tmp_path: Path, at: int) -> None:
    path = tmp_path / "s.tar"
    offset, length = written(path)["b" * 85]
    content = bytearray(path.read_bytes())
    content[offset + at] ^= 0x41
    path.write_bytes(content)
    with pytest.raises(StepFailed, match="does not match its index") as raised:
        read_clip_members(local(path), offset, length)
    assert "\n" not in str(raised.value)


def test_a_missing_shard_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="shard is missing; run `cavmae extract` again"):
        read_clip_members(local(tmp_path / "none.tar"), 0, 512)
