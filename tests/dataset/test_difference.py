"""What became of the clips between two versions: every clip that differs is told of, under the right name."""

from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset.difference import KINDS, difference
from cavmae.dataset.schema import CLIPS, QUARANTINE, write_table
from cavmae.errors import InputError


def clip(name: str, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(CLIPS.names) | {
        "video_id": name,
        "name": name,
        "path": f"videos/{name}.mp4",
        "start_s": 0.0,
        "end_s": 10.0,
    }
    return row | {"labels": ["dog"], "group": name, "split": "train", "shard": "train-00000", "sha256": name * 8} | changes


def rejected(name: str | None, path: str, reason: str = "truncated") -> dict[str, Any]:
    return {"video_id": name, "path": path, "step": "extract", "reason": reason, "detail": "It ends early."}


def version(folder: Path, clips: list[dict[str, Any]], quarantine: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir()
    write_table(folder / "clips.parquet", clips, CLIPS)
    if quarantine is not None:
        write_table(folder / "quarantine.parquet", quarantine, QUARANTINE)
    return folder


def counts(before: Path, now: Path) -> dict[str, int]:
    found = difference(before, now).document()["counts"]
    return {kind: number for kind, number in found.items() if number}


def test_each_kind_is_told_of_once_and_what_stayed_is_not(tmp_path: Path) -> None:
    before = version(
        tmp_path / "before",
        [clip(name) for name in ("same", "gone", "relabelled", "rewritten", "cut", "moved", "broke")],
        [rejected("mended", "videos/mended.mp4"), rejected(None, "videos/still.txt", "not_media")],
    )
    now = version(
        tmp_path / "now",
        [
            clip("same", shard="train-00007", weight=0.5),
            clip("relabelled", labels=["cat"]),
            clip("rewritten", sha256="f" * 64),
            clip("cut", end_s=5.0),
            clip("moved", split="test"),
            clip("mended"),
            clip("new", labels=[]),
        ],
        [rejected("broke", "videos/broke.mp4"), rejected(None, "videos/still.txt", "not_media")],
    )
    found = difference(before, now)
    assert {kind: [record["video_id"] for record in found.found[kind]] for kind in KINDS} == {
        "added": ["mended", "new"],
        "removed": ["gone"],
        "relabelled": ["relabelled"],
        "changed": ["cut", "rewritten"],
        "moved": ["moved"],
        "quarantined": ["broke"],
        "released": ["mended"],
    }
    assert found.clips == (7, 7) and found.quarantined == (2, 2)
    assert found.found["relabelled"] == [{"video_id": "relabelled", "before": ("dog",), "now": ("cat",)}]
    assert counts(before, before) == {}
    back = counts(now, before)
    assert back["added"] == 2 and back["removed"] == 1 and back["quarantined"] == back["released"] == 1


def test_the_order_of_labels_is_no_difference_and_a_missing_quarantine_is_an_empty_one(tmp_path: Path) -> None:
    before = version(tmp_path / "before", [clip("a", labels=["dog", "cat"])])
    now = version(tmp_path / "now", [clip("a", labels=["cat", "dog"])], [])
    assert counts(before, now) == {}


def test_what_is_no_table_of_clips_is_wrong_input(tmp_path: Path) -> None:
    good = version(tmp_path / "good", [clip("a")])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "clips.parquet").write_bytes(b"PAR1")
    for other in (tmp_path / "bad", tmp_path):
        with pytest.raises(InputError, match=r"clips\.parquet: "):
            difference(good, other)
