"""The clips that are embedded: every one once, with what is known of it, and files that give none named once."""

import logging
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cavmae.dataset.loader import ClipSet
from cavmae.errors import InputError
from cavmae.evaluation import windows
from cavmae.evaluation.embedding_rows import Batch, dataset_batches, file_batches
from cavmae.media.clip import Clip, ClipSettings, MediaRejected
from tests.evaluation.test_windows import clip, config_of_1_s
from tests.training.tiny import tiny


def test_every_clip_of_the_data_set_comes_once_with_split_labels_and_time() -> None:
    data = ClipSet(tiny().dataset)
    batches = list(dataset_batches(data, "all", config_of_1_s(), "middle", 7))
    rows = [row for batch in batches for row in batch.rows]
    manifest = {row["video_id"]: row for row in pq.read_table(tiny().dataset / "clips.parquet").to_pylist()}
    assert len(rows) == len({row.video_id for row in rows}) == len(manifest) == 48
    for row in rows:
        known = manifest[row.video_id]
        assert (row.path, row.split, list(row.labels)) == (known["path"], known["split"], known["labels"])
        assert row.start_s == known["start_s"] and 0.9 < row.end_s - row.start_s < 1.2, "the clip's length, not the window's"
    assert [len(batch.rows) for batch in batches] == [7] * 6 + [6]
    assert all(batch.images.shape[1:] == (1, 32, 32, 3) for batch in batches)


def test_frames_are_the_middle_one_or_all() -> None:
    data, config = ClipSet(tiny().dataset), config_of_1_s()
    (middle,), (every,) = (list(dataset_batches(data, "test", config, frames, 8)) for frames in ("middle", "all"))
    assert every.images.shape == (8, 4, 32, 32, 3) and (every.images[:, 2:3] == middle.images).all()
    assert {row.split for row in middle.rows} == {"test"}


def test_a_split_without_clips_is_refused() -> None:
    data = ClipSet(tiny().dataset)
    data.splits = {"train": [], "val": [], "test": []}
    for split, told in (("test", "split 'test' holds no clips"), ("all", "holds no clips")):
        with pytest.raises(InputError, match=told):
            list(dataset_batches(data, split, config_of_1_s(), "middle", 8))


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 2 s, but `bad*` cannot be read at all and `torn*` only in the first second."""

    def read(path: Path, start: float, end: float, settings: ClipSettings, alone: object) -> Clip:
        if path.name.startswith("bad") or (path.name.startswith("torn") and start):
            raise MediaRejected("undecodable", "Noise.")
        return clip(end - start)

    monkeypatch.setattr(windows, "media_duration", lambda path: 2.0)
    monkeypatch.setattr(windows, "read_clip", read)


def embedded(*names: str, batch_size: int = 3) -> list[Batch]:
    return list(file_batches([Path(name) for name in names], config_of_1_s(), None, "middle", batch_size))


@pytest.mark.usefixtures("files")
def test_every_window_of_a_file_is_a_row_and_batches_run_over_files() -> None:
    batches = embedded("a.mp4", "b/a.mp4")
    rows = [row for batch in batches for row in batch.rows]
    assert [len(batch.rows) for batch in batches] == [3, 1]
    assert [(row.path, row.start_s, row.end_s) for row in rows] == [
        ("a.mp4", 0.0, 1.0),
        ("a.mp4", 1.0, 2.0),
        ("b/a.mp4", 0.0, 1.0),
        ("b/a.mp4", 1.0, 2.0),
    ]
    assert len({row.video_id for row in rows}) == 4 and rows[0].video_id == "a"
    assert {(row.split, row.labels) for row in rows} == {(None, ())}
    middle = clip(1.0).frames[2]
    assert (np.asarray(batches[0].images[0, 0]) == middle).all()


@pytest.mark.usefixtures("files")
def test_what_cannot_be_used_is_named_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rows = [row for batch in embedded("bad.mp4", "bad2.mp4", "torn.mp4", "a.mp4") for row in batch.rows]
    assert [row.path for row in rows] == ["torn.mp4", "a.mp4", "a.mp4"]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sorted(said) == [
        "embed: bad.mp4: cannot be used (undecodable: Noise.)",
        "embed: bad2.mp4: cannot be used (undecodable: Noise.)",
        "embed: torn.mp4, from 1 s: cannot be used (undecodable: Noise.)",
    ]


@pytest.mark.usefixtures("files")
def test_where_no_file_can_be_used_the_first_is_the_error_and_the_others_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match=r"^bad1.mp4: cannot be used \(undecodable: Noise.\)$"):
        embedded("bad1.mp4", "bad2.mp4")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["embed: bad2.mp4: cannot be used (undecodable: Noise.)"]


@pytest.mark.usefixtures("files")
def test_a_name_that_is_no_text_becomes_one() -> None:
    (batch,) = embedded(os.fsdecode(b"caf\xe9 \n.mp4"))
    assert batch.rows[0].path == "caf\\xe9 \n.mp4" and batch.rows[0].video_id.startswith("caf-")
