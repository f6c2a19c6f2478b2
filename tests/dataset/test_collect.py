"""The work of ingest as a whole: what it writes, and that a second run on grown data leaves the first one's work alone."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cavmae.dataset import collect as module
from cavmae.dataset.labels import read_labels
from cavmae.errors import InputError
from tests.dataset.made import blob, ingest_params, ingested, reasons, table


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAVMAE_WORK", raising=False)
    return tmp_path


def fill(folder: Path, count: int, labels: str = "dog cat") -> Path:
    for label in labels.split():
        for number in range(count):
            blob(folder / label / f"{number}.mp4")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_every_file_is_a_clip_or_in_quarantine(here: Path) -> None:
    source = fill(Path("v"), 10)
    (source / "notes.txt").write_text("text")
    (source / "dog" / "empty.mp4").touch()
    blob(source / "cat" / "copy.mp4", "v/cat/3.mp4")
    (source / "cat" / "gone.mp4").symlink_to("nowhere")
    blob(Path(os.fsdecode(b"v/d\xff/x.mp4")))
    clips, quarantine = ingested(source, Path("out"))
    assert reasons(quarantine) == {
        "notes.txt": "not_media", "empty.mp4": "empty_file", "copy.mp4": "duplicate", "gone.mp4": "missing_file",
        "x.mp4": "bad_file_name",
    }  # fmt: skip
    assert len(clips) == 20
    assert Counter((row["labels"][0], row["split"]) for row in clips) == {
        (label, split): count for label in ("dog", "cat") for split, count in (("train", 8), ("val", 1), ("test", 1))
    }
    assert [label.mid for label in read_labels(Path("out/labels.csv"))] == ["cat", "dog"]


def test_the_same_source_gives_the_same_bytes(here: Path) -> None:
    source = fill(Path("v"), 6)
    ingested(source, Path("one"))
    shutil.rmtree(".cavmae")
    ingested(source, Path("two"))
    ingested(source, Path("two"))
    assert contents(Path("one")) == contents(Path("two"))


def test_grown_data_keeps_ids_splits_shards_and_label_order(here: Path) -> None:
    source = fill(Path("v"), 8, "dog cat")
    before, _ = ingested(source, Path("out"), "shard_clips=4")
    fill(source, 12, "dog ant")
    blob(source / "ant" / "copy.mp4", "v/cat/3.mp4")
    blob(source / "ant" / "sub" / "0.mp4")
    after, quarantine = ingested(source, Path("out"), "shard_clips=4")
    kept = {row["video_id"]: row for row in after}
    assert all(kept[row["video_id"]] == row for row in before)
    new = [row for row in after if row not in before]
    assert len(new) == 17 and not {row["shard"] for row in new} & {row["shard"] for row in before}
    assert reasons(quarantine) == {"copy.mp4": "duplicate"}
    assert [label.mid for label in read_labels(Path("out/labels.csv"))] == ["cat", "dog", "ant"]


def test_another_source_into_the_same_folder_starts_afresh_even_after_a_kill(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingested(fill(Path("w"), 5), Path("alone"))
    ingested(fill(Path("v"), 5), Path("out"))
    real = module.write_table

    def killed(path: Path, *rest: object) -> int:
        if path.name == "clips.parquet":
            raise SystemExit("killed")
        return real(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_table", killed)
        with pytest.raises(SystemExit):
            ingested(Path("w"), Path("out"))
    ingested(Path("w"), Path("out"))
    assert contents(Path("out")) == contents(Path("alone"))


def test_what_a_killed_run_left_is_cleared_away(here: Path) -> None:
    blob(Path("out/clips.parquet.4711.partial"))
    blob(Path("out/mine.partial"))
    ingested(fill(Path("v"), 3), Path("out"))
    assert sorted(path.name for path in Path("out").glob("*.partial")) == ["mine.partial"]


def test_sources_of_their_own_for_val_and_test(here: Path) -> None:
    for name in ("a", "b", "c"):
        fill(Path(name), 10, "dog")
    clips, _ = ingested(Path("a"), Path("out"), "val_source=b", "test_source=c")
    assert {(row["path"].partition("/")[0], row["split"]) for row in clips} == {("a", "train"), ("b", "val"), ("c", "test")}


def test_with_a_test_source_alone_val_is_taken_from_the_source(here: Path) -> None:
    fill(Path("a"), 10, "dog")
    fill(Path("c"), 4, "dog")
    clips, _ = ingested(Path("a"), Path("out"), "test_source=c", "val_share=0.2", "test_share=0.5")
    counts = Counter((row["path"].partition("/")[0], row["split"]) for row in clips)
    assert counts == {("a", "train"): 8, ("a", "val"): 2, ("c", "test"): 4}


def test_a_copy_of_a_training_file_among_the_test_files_is_found(here: Path) -> None:
    fill(Path("a"), 5, "dog")
    blob(Path("c/x.mp4"), "a/dog/2.mp4")
    blob(Path("c/y.mp4"))
    clips, quarantine = ingested(Path("a"), Path("out"), "test_source=c")
    assert [row["name"] for row in clips if row["split"] == "test"] == ["y"]
    assert reasons(quarantine) == {"x.mp4": "duplicate"}


def test_a_table_with_splits_groups_and_windows(here: Path) -> None:
    for name in "abc":
        blob(Path(f"{name}.mp4"))
    rows = [("a.mp4", "x", "train", "1", "3", "g"), ("b.mp4", "y", "val", "", "", ""), ("c.mp4", "x;y", "test", "", "2", "")]
    clips, _ = ingested(table(Path("t.csv"), rows, "path,labels,split,start,end,group"), Path("out"))
    found = {row["name"]: (row["labels"], row["split"], row["start_s"], row["end_s"], row["group"]) for row in clips}
    assert found == {
        "a": (["x"], "train", 1.0, 3.0, "g"),
        "b": (["y"], "val", 0.0, 10.0, "b.mp4"),
        "c": (["x", "y"], "test", 0.0, 2.0, "c.mp4"),
    }


def test_a_label_that_the_list_lacks_is_named_with_its_row(here: Path) -> None:
    for name in "ab":
        blob(Path(f"{name}.mp4"))
    Path("labels.csv").write_text("index,mid,display_name\n0,dog,Dog\n")
    source = table(Path("t.csv"), [("a.mp4", "dog"), ("b.mp4", "dog;cat")])
    with pytest.raises(InputError, match=r"t\.csv, row 3: label 'cat' is not in labels\.csv"):
        ingested(source, Path("out"), "labels_csv=labels.csv")


def test_a_list_of_labels_gives_their_order_and_names(here: Path) -> None:
    blob(Path("a.mp4"))
    Path("labels.csv").write_text("index,mid,display_name\n0,z,Zebra\n1,dog,Dog\n")
    ingested(table(Path("t.csv"), [("a.mp4", "dog")]), Path("out"), "labels_csv=labels.csv")
    assert Path("out/labels.csv").read_text() == Path("labels.csv").read_text()


def test_extracted_clips_and_videos_come_from_one_json(here: Path) -> None:
    blob(Path("f/frame_0/x.jpg"))
    blob(Path("x.wav"))
    blob(Path("v/y.mp4"))
    rows = [
        {"video_id": "x", "wav": "x.wav", "video_path": "f", "labels": "/m/1"},
        {"video_id": "y", "wav": "", "video_path": "v", "labels": "/m/2,/m/1"},
        {"video_id": "z", "wav": "", "video_path": "v", "labels": ""},
    ]
    Path("t.json").write_text(json.dumps({"data": rows}))
    clips, quarantine = ingested(Path("t.json"), Path("out"))
    assert {row["name"]: (row["path"], row["frames"], row["labels"]) for row in clips} == {
        "x": ("x.wav", "f", ["/m/1"]), "y": ("v/y.mp4", None, ["/m/2", "/m/1"]),
    }  # fmt: skip
    assert reasons(quarantine) == {"z.mp4": "missing_file"}
    assert quarantine[0]["detail"] == "The row (t.json, row 2) has neither a sound in v/frame_0 nor a video z.mp4 in v."


def test_a_source_without_any_media_says_what_it_holds(here: Path) -> None:
    Path("v").mkdir()
    Path("v/a.txt").write_text("text")
    Path("v/b.mp4").touch()
    with pytest.raises(
        InputError, match=r"none of its 2 inputs is a media file .*(1 not_media, 1 empty_file|1 empty_file, 1 not_media)"
    ):
        ingested(Path("v"), Path("out"))
    assert not Path("out/clips.parquet").exists()


@pytest.mark.parametrize("key", ["val_source", "test_source"])
def test_the_sample_set_takes_no_source_beside_it(key: str) -> None:
    with pytest.raises(InputError, match="the sample set has splits of its own"):
        ingest_params(f"{key}=b")


def test_extracted_clips_of_equal_sound_are_copies_only_where_their_pictures_are(here: Path) -> None:
    rows = []
    for name, picture in (("a", "one"), ("b", "another one"), ("copy", "one")):
        blob(Path("audio") / f"{name}.wav", "silence")
        for index in range(3):
            blob(Path("frames") / f"frame_{index}" / f"{name}.jpg", picture if index == 1 else "black")
        rows.append({"video_id": name, "wav": f"audio/{name}.wav", "video_path": "frames", "labels": "x"})
    Path("list.json").write_text(json.dumps({"data": rows}))
    clips, quarantine = ingested(Path("list.json"), Path("out"))
    assert [row["name"] for row in clips] == ["a", "b"] and reasons(quarantine) == {"copy.wav": "duplicate"}
    assert len({row["sha256"] for row in clips}) == 2


def test_a_changed_picture_makes_another_clip_of_an_extracted_one(here: Path) -> None:
    blob(Path("a.wav"), "sound")
    blob(Path("frames/frame_0/a.jpg"), "picture")
    Path("list.json").write_text(json.dumps({"data": [{"video_id": "a", "wav": "a.wav", "video_path": "frames", "labels": "x"}]}))
    before = ingested(Path("list.json"), Path("out"))[0][0]
    assert ingested(Path("list.json"), Path("out"))[0][0] == before
    blob(Path("frames/frame_0/a.jpg"), "a larger picture")
    after = ingested(Path("list.json"), Path("out"))[0][0]
    assert after["sha256"] != before["sha256"] and after["video_id"] == before["video_id"]
