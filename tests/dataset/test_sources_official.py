"""CAV-MAE's JSON lists as source: videos, and clips that were extracted before."""

import json
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset.sources import Candidate, read_source
from cavmae.errors import InputError
from tests.dataset.made import blob


def candidates(tmp_path: Path, *rows: Any) -> list[Candidate]:
    (tmp_path / "t.json").write_text(json.dumps({"data": rows}), encoding="utf-8")
    return read_source(str(tmp_path / "t.json"))


def test_a_row_with_wav_and_frames_is_an_extracted_clip(tmp_path: Path) -> None:
    blob(tmp_path / "frames" / "frame_0" / "x.1.jpg")
    row = {"video_id": "x.1", "wav": "audio/x.1.flac", "video_path": "frames", "labels": "/m/1,/m/2"}
    (clip,) = candidates(tmp_path, row)
    assert (clip.path, clip.frames, clip.name) == (tmp_path / "audio/x.1.flac", tmp_path / "frames", "x.1")
    assert clip.labels == ("/m/1", "/m/2")


def test_a_picture_that_is_missing_does_not_make_a_video_of_an_extracted_clip(tmp_path: Path) -> None:
    blob(tmp_path / "frames" / "frame_0" / "other.jpg")
    (clip,) = candidates(tmp_path, {"video_id": "x", "wav": "x.wav", "video_path": "frames", "labels": ""})
    assert clip.frames == tmp_path / "frames"


@pytest.mark.parametrize(
    ("file", "path", "expected"),
    [("v/x.mkv", "v", "v/x.mkv"), ("v/x.mp4", "v/x.mp4", "v/x.mp4"), (None, "v", "v/x.mp4"), ("v/x/y", "v/x/y", "v/x/y")],
)
def test_a_video_is_found_by_its_path_or_in_its_folder(tmp_path: Path, file: str | None, path: str, expected: str) -> None:
    if file:
        blob(tmp_path / file)
    (clip,) = candidates(tmp_path, {"video_id": "x", "wav": "gone/x.wav", "video_path": path, "labels": "a"})
    assert (clip.path, clip.frames) == (tmp_path / expected, None)


def test_a_name_that_leads_out_of_the_folder_is_never_joined_to_a_path(tmp_path: Path) -> None:
    blob(tmp_path / "secret.mp4")
    blob(tmp_path / "v" / "frame_0" / "a.jpg")
    (clip,) = candidates(tmp_path, {"video_id": "../secret", "wav": "w.wav", "video_path": "v", "labels": ""})
    assert (clip.path, clip.frames) == (tmp_path / "v", None)


def test_a_path_longer_than_the_system_allows_is_a_candidate_like_others(tmp_path: Path) -> None:
    long, other = candidates(tmp_path, {"video_id": "x" * 400, "video_path": "v"}, {"video_id": "a", "video_path": "n" * 400})
    assert long.path.parent == tmp_path / "v" and other.path.parent.name == "n" * 400


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"wav": "a"}, "row 0: 'video_id' is missing"),
        ("text", "row 0: 'video_id' is missing"),
        ({"video_id": 7, "video_path": "v"}, "row 0: 'video_id' is missing"),
        ({"video_id": "a"}, "row 0: 'video_path' is missing"),
        ({"video_id": "a", "video_path": "v", "labels": ["x"]}, "row 0: 'labels' is not text"),
        ({"video_id": "a\ud800", "video_path": "v"}, "row 0: 'video_id' holds half of a two-part character"),
        ({"video_id": "a", "video_path": "v", "labels": "\udcff"}, "row 0: 'labels' holds half of a two-part character"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        candidates(tmp_path, row)


@pytest.mark.parametrize("text", ["[]", '{"data": []}', '{"data": 3}', "{", "[" * 100_000, '{"data": [' + "9" * 5000 + "]}"])
def test_a_json_of_another_shape_is_wrong_input_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError, match=r"t\.json") as raised:
        read_source(str(tmp_path / "t.json"))
    assert "\n" not in str(raised.value)
