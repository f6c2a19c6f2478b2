"""Clips of a validated data set; and threads that compute ahead, in order, and end."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cavmae.dataset.loader import ClipRecord, ClipSet, Prefetch, balance_weights
from cavmae.dataset.order import EpochOrder
from cavmae.dataset.schema import CLIPS, write_table
from cavmae.dataset.tar import ShardWriter
from cavmae.errors import InputError, StepFailed
from cavmae.storage import write_json
from tests.dataset.made import NOWHERE
from tests.threads import ended


def clip(*labels: int) -> ClipRecord:
    return ClipRecord("v", "p", "g", labels, NOWHERE, 0, 0)


def test_weights_make_rare_labels_as_frequent_as_common_ones() -> None:
    clips = [clip(0)] * 90 + [clip(1)] * 10
    weights = balance_weights(clips)
    assert weights[0] == pytest.approx(1000 / 90.01) and weights[-1] == pytest.approx(1000 / 10.01)
    order = EpochOrder(np.zeros(100, dtype=np.int64), 0, 10, 1000, weights)
    drawn = np.concatenate([order(epoch) for epoch in range(50)])
    assert np.mean(drawn >= 90) == pytest.approx(0.5, abs=0.03)


def test_results_come_in_order_and_the_thread_ends() -> None:
    before = threading.active_count()
    assert list(Prefetch([[1], [2], [3, 4]], sum)) == [1, 2, 7]
    assert ended(before)


def test_an_error_in_the_thread_reaches_the_one_who_asks() -> None:
    def fail(item: object) -> int:
        raise InputError("broken shard")

    with pytest.raises(InputError, match="broken shard"):
        list(Prefetch([[1]], fail))


def test_stopping_early_ends_the_thread_and_no_more_than_asked_for_is_made() -> None:
    made: list[int] = []
    before = threading.active_count()
    for first in Prefetch([[number] for number in range(1000)], lambda item: (made.append(item[0]), item[0])[1], ahead=2):
        assert first == 0
        time.sleep(0.05)
        break
    assert ended(before) and len(made) <= 4


def test_a_thread_that_cannot_be_started_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    before, start, begun = threading.active_count(), threading.Thread.start, []

    def failing(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        list(Prefetch([[1], [2]], sum, readers=3))
    assert len(begun) == 1 and ended(before)


@pytest.fixture
def validated(tmp_path: Path) -> Path:
    shards, out = tmp_path / "shards", tmp_path / "out"
    shards.mkdir()
    with (shards / "train-00000.tar").open("wb") as file:
        writer = ShardWriter(file)
        members = {name: writer.add_clip(name, {"wav": name.encode()}) for name in ("a", "b")}
        writer.close()
    facts = [{"video_id": "a", "duration_s": 1.5}, {"video_id": "b", "duration_s": 2.5}]
    write_json(shards / "train-00000.json", {"members": members, "facts": facts})
    write_json(out / "index.json", {"settings": {"frames": 2}, "shards": [{"name": "train-00000"}]})
    write_json(out / "location.json", {"root": "../shards", "files": {}})
    (out / "labels.csv").write_text("index,mid,display_name\n0,dog,Dog\n1,cat,Cat\n")
    row = {"path": "p", "group": "g", "split": "train", "shard": "train-00000"}
    write_table(
        out / "clips.parquet",
        [{**row, "video_id": "b", "labels": ["cat", "dog"]}, {**row, "video_id": "a", "labels": []}],
        CLIPS,
    )
    return out


def test_clips_are_found_in_their_shards_with_the_indexes_of_their_labels(validated: Path) -> None:
    clips = ClipSet(validated)
    b, a = clips.split("train")
    assert (b.members(), a.members()) == ({"wav": b"b"}, {"wav": b"a"})
    assert (b.labels, a.labels) == ((0, 1), ())
    assert clips.targets([b, a]).tolist() == [[1, 1], [0, 0]]
    assert (clips.longest_s, clips.settings) == (2.5, {"frames": 2})


def test_a_split_without_clips_and_a_folder_without_data_are_wrong_input(validated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split 'val' holds no clips"):
        ClipSet(validated).split("val")
    with pytest.raises(InputError, match="run `cavmae validate` first"):
        ClipSet(tmp_path)


def test_data_that_an_earlier_version_validated_is_to_be_validated_again(validated: Path) -> None:
    (validated / "location.json").unlink()
    write_json(validated / "index.json", {"settings": {}, "shards_root": "../shards", "shards": [{"name": "train-00000"}]})
    with pytest.raises(InputError, match=r"was validated by an earlier version.*run `cavmae validate` again"):
        ClipSet(validated)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"members": []}', "[" * 100_000, '{"members": {}, "facts": [], "bytes": "12"}']
)
def test_a_damaged_record_is_said_in_one_line_with_its_place(validated: Path, content: str) -> None:
    record = validated.parent / "shards" / "train-00000.json"
    record.write_text(content)
    with pytest.raises(StepFailed, match=f"{record}: the record of a shard is damaged"):
        ClipSet(validated)


def test_a_closed_gate_is_told_of_and_an_open_one_is_not(validated: Path, caplog: pytest.LogCaptureFixture) -> None:
    def verdict(*failed: str) -> None:
        listed = [{"name": name, "critical": True, "passed": name not in failed} for name in ("leakage", "label_coverage")]
        write_json(validated / "verdict.json", {"passed": not failed, "expectations": listed})

    verdict()
    ClipSet(validated)
    assert caplog.text == ""
    verdict("label_coverage")
    ClipSet(validated)
    assert "its gate is closed (label_coverage)" in caplog.text
