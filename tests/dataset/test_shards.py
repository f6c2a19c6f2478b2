"""One shard: the same input gives the same bytes, every clip stands in it or in its quarantine, nothing half is left."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cavmae.dataset.extraction import clip_settings
from cavmae.dataset.schema import Row
from cavmae.dataset.shards import ShardTask, shard_paths, write_shard
from cavmae.dataset.shelf import Shelf
from cavmae.dataset.tar import read_clip_members
from cavmae.media.clip import Clip, ClipSettings
from cavmae.storage import read_json, sha256_file
from tests.dataset.made import blob, extract_params, tiny_film


def row(path: Path, start_s: float = 0.0, end_s: float = 10.0) -> Row:
    return {
        "video_id": path.stem, "name": path.stem, "path": str(path), "frames": None, "start_s": start_s, "end_s": end_s,
        "labels": [], "group": str(path), "split": "train", "shard": "train-00000", "sha256": sha256_file(path), "bytes": 1,
        "source": "s",
        "weight": None,
    }  # fmt: skip


def is_written(folder: Path, task: ShardTask) -> bool:
    return Shelf(str(folder), {}).holds(task.name, task.fingerprint)


def quiet(video_id: str | None) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, loudness in (("a", 0.3), ("b", 0.5), ("silent", 0.0)):
        tiny_film(folder / f"{name}.mp4", loudness)
    blob(folder / "noise.mp4")
    return folder


@pytest.fixture
def task(films: Path) -> ShardTask:
    rows = [row(films / f"{name}.mp4") for name in ("a", "noise", "b", "silent")]
    return ShardTask("train-00000", rows, clip_settings(extract_params()), 90, poisoned={})


def test_each_clip_stands_in_the_shard_or_in_its_quarantine(task: ShardTask, tmp_path: Path) -> None:
    heard: list[str | None] = []
    write_shard(tmp_path, task, heard.append)
    tar, record_path = shard_paths(tmp_path, task.name)
    record = read_json(record_path)
    assert list(record["members"]) == ["a", "b"] == [facts["video_id"] for facts in record["facts"]]
    assert {one["video_id"]: one["reason"] for one in record["quarantine"]} == {"noise": "undecodable", "silent": "silent_audio"}
    assert (record["bytes"], record["sha256"]) == (tar.stat().st_size, sha256_file(tar))
    for place in record["members"].values():
        assert list(read_clip_members(Shelf(str(tmp_path), {}).shard(task.name, {}), *place)) == ["json", "wav", "0.jpg", "1.jpg"]
    assert heard == ["a", None, "noise", None, "b", None, "silent", None]


def test_the_same_input_gives_the_same_bytes(task: ShardTask, tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_shard(folder, task, quiet)
    for one, two in zip(shard_paths(tmp_path / "one", task.name), shard_paths(tmp_path / "two", task.name), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_a_poisoned_clip_is_not_read(task: ShardTask, tmp_path: Path) -> None:
    def read(row: Row, settings: ClipSettings) -> Clip:
        raise AssertionError("read all the same")

    only = replace(task, rows=task.rows[:1], poisoned={"a": ("decoder_timeout", "Took long.")})
    write_shard(tmp_path, only, quiet, read)
    (rejected,) = read_json(shard_paths(tmp_path, task.name)[1])["quarantine"]
    assert (rejected["reason"], rejected["detail"], rejected["step"]) == ("decoder_timeout", "Took long.", "extract")


def test_an_error_within_a_library_rejects_that_clip_and_no_other(task: ShardTask, tmp_path: Path) -> None:
    from cavmae.dataset.shards import read_row

    def read(row: Row, settings: ClipSettings) -> Clip:
        if row["video_id"] == "a":
            raise ZeroDivisionError("inside")
        return read_row(row, settings)

    write_shard(tmp_path, task, quiet, read)
    record = read_json(shard_paths(tmp_path, task.name)[1])
    assert list(record["members"]) == ["b"]
    assert (record["quarantine"][0]["reason"], "ZeroDivisionError" in record["quarantine"][0]["detail"]) == (
        "decoder_crashed",
        True,
    )


@pytest.mark.parametrize("damage", ["tar cut", "no tar", "no record", "record cut", "record of another kind"])
def test_what_is_not_whole_counts_as_not_written(task: ShardTask, tmp_path: Path, damage: str) -> None:
    write_shard(tmp_path, task, quiet)
    assert is_written(tmp_path, task)
    tar, record = shard_paths(tmp_path, task.name)
    match damage:
        case "tar cut":
            tar.write_bytes(tar.read_bytes()[:-512])
        case "no tar":
            tar.unlink()
        case "no record":
            record.unlink()
        case "record cut":
            record.write_bytes(record.read_bytes()[:100])
        case "record of another kind":
            record.write_text("[]")
    assert not is_written(tmp_path, task)


def test_what_decides_the_bytes_makes_a_shard_anew_and_labels_do_not(task: ShardTask, tmp_path: Path) -> None:
    write_shard(tmp_path, task, quiet)
    first, *others = task.rows
    assert is_written(tmp_path, replace(task, rows=[{**first, "labels": ["new"]}, *others]))
    changes = [{"end_s": 0.5}, {"sha256": "0" * 64}, {"path": "elsewhere"}, {"frames": "f"}]
    for task_changed in (
        *(replace(task, rows=[{**first, **change}, *others]) for change in changes),
        replace(task, rows=others),
        replace(task, jpeg_quality=91),
        replace(task, settings=replace(task.settings, image_size=34)),
    ):
        assert not is_written(tmp_path, task_changed)


def test_a_failure_in_the_middle_leaves_no_file(task: ShardTask, tmp_path: Path) -> None:
    def stop(video_id: str | None) -> None:
        if video_id == "b":
            raise BrokenPipeError

    write_shard(tmp_path, task, quiet)
    shutil.copy(tmp_path / "train-00000.tar", tmp_path / "kept")
    with pytest.raises(BrokenPipeError):
        write_shard(tmp_path, task, stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "train-00000.tar"]
    assert not is_written(tmp_path, task)
