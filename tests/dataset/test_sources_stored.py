"""Sources on S3 and in DVC's store: the same clips as from a folder, nothing read twice, and hostile names harm nobody."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset import examining
from cavmae.dataset.extraction import extract_clips
from cavmae.dataset.schema import QUARANTINE, read_rows
from cavmae.dataset.source_version import source_version
from cavmae.dataset.sources import read_source
from cavmae.errors import InputError, StepFailed
from tests.dataset.made import blob, dvc_object, extract_params, ingested, reads, reasons, table, tiny_film, upload
from tests.s3_service import S3Service

pytestmark = pytest.mark.usefixtures("here")
Put = Callable[..., str]


@pytest.fixture
def put(s3_server: S3Service, bucket: str) -> Put:
    """Put an object, media at sight unless its content is given; return its URI."""

    def put(key: str, content: bytes | None = None) -> str:
        body = b"\0\1\2" + key.encode() if content is None else content
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    return put


def test_a_prefix_is_a_folder_whose_sub_folders_are_labels(put: Put, bucket: str) -> None:
    for key in ("v/dog/1.mp4", "v/dog/sub/2.mp4", "v/cat/3.mp4", "v/4.mp4", "v/.DS_Store", "v/.git/x", "w/dog/5.mp4", "v.mp4"):
        put(key)
    put("v/dog/", b"")  # what consoles write for a folder
    put("v/dog/notes.txt", b"text")
    put("v/cat/empty.mp4", b"")
    put("v/cat/copy.mp4", b"\0\1\2v/cat/3.mp4")
    for source in (f"s3://{bucket}/v", f"s3://{bucket}/v/"):
        clips, quarantine = ingested(source, Path("out"))
        assert {row["path"]: row["labels"] for row in clips} == {
            f"s3://{bucket}/v/dog/1.mp4": ["dog"], f"s3://{bucket}/v/dog/sub/2.mp4": ["dog"],
            f"s3://{bucket}/v/cat/3.mp4": ["cat"], f"s3://{bucket}/v/4.mp4": [],
        }  # fmt: skip
        assert reasons(quarantine) == {"notes.txt": "not_media", "empty.mp4": "empty_file", "copy.mp4": "duplicate"}
    row = next(row for row in clips if row["name"] == "1")
    content = b"\0\1\2v/dog/1.mp4"
    assert (row["sha256"], row["bytes"], row["object"]) == (hashlib.sha256(content).hexdigest(), len(content), None)
    assert row["group"] == row["path"] and row["source"] == source


def test_a_second_run_reads_what_is_new_or_changed_and_nothing_else(
    put: Put, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        put(f"v/dog/{number}.mp4")
    put("v/page.mp4", b"<html>")
    read = reads(monkeypatch)
    before, _ = ingested(f"s3://{bucket}/v", Path("out"))
    assert len(read) == 7
    read.clear()
    assert ingested(f"s3://{bucket}/v", Path("out"))[0] == before
    assert read == []
    new, changed = put("v/dog/new.mp4"), put("v/dog/3.mp4", b"\0another content")
    after, _ = ingested(f"s3://{bucket}/v", Path("out"))
    assert sorted(read) == sorted([new, changed])
    kept = {row["path"]: row for row in after}
    assert all(kept[row["path"]] == row for row in before if row["path"] != changed)
    assert kept[changed]["sha256"] != next(row["sha256"] for row in before if row["path"] == changed)
    assert kept[changed]["shard"] == next(row["shard"] for row in before if row["path"] == changed)


def test_a_killed_run_hashes_again_only_what_it_had_not(put: Put, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        put(f"v/{number}.mp4")
    real = examining.Examination._read

    def failing(self: examining.Examination, file: Any) -> dict[str, Any]:
        if file.shown.endswith("3.mp4"):
            raise StepFailed(f"{file.shown}: the service cannot be reached")
        return real(self, file)

    with monkeypatch.context() as patched:
        patched.setattr(examining.Examination, "_read", failing)
        with pytest.raises(StepFailed, match=r"3\.mp4: the service cannot be reached"):
            ingested(f"s3://{bucket}/v", Path("out"))
    read = reads(monkeypatch)
    assert len(ingested(f"s3://{bucket}/v", Path("out"))[0]) == 5
    assert sorted(path[-5:] for path in read) == ["3.mp4", "4.mp4"]


def test_large_objects_are_hashed_in_pieces(put: Put, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_BLOCK", 5000)
    content = b"\0" + os.urandom(17_000)
    put("v/a.mp4", content)
    (row,), _ = ingested(f"s3://{bucket}/v", Path("out"))
    assert (row["sha256"], row["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


def test_hostile_keys_are_quarantined_with_their_letters_shown(put: Put, bucket: str) -> None:
    put("v/good.mp4")
    for key in ("v/a//b.mp4", "v/dog/tab\there.mp4", "v/-rf;$(x).mp4", "v/ü 日本.mp4"):
        put(key)
    clips, quarantine = ingested(f"s3://{bucket}/v", Path("out"))
    assert {row["name"] for row in clips} >= {"good", "-rf;$(x)", "ü 日本"}
    assert all(row["reason"] == "bad_file_name" for row in quarantine) and quarantine
    assert all(row["video_id"].replace("-", "").replace("_", "").isalnum() for row in clips)


def test_lists_on_s3_name_objects_relative_to_themselves_and_lists_here_name_uris(put: Put, bucket: str) -> None:
    uris = [put("data/v/a.mp4"), put("data/b.mp4"), put("elsewhere/c.mp4")]
    rows = [
        ("v/a.mp4", "dog", "train"),
        ("./b.mp4", "cat;dog", "val"),
        ("../elsewhere/c.mp4", "", "test"),
        ("gone.mp4", "dog", ""),
    ]
    text = table(Path("t.csv"), rows, "path,labels,split").read_bytes()
    put("data/list.csv", text)
    clips, quarantine = ingested(f"s3://{bucket}/data/list.csv", Path("out"))
    assert {row["path"]: (row["labels"], row["split"]) for row in clips} == dict(
        zip(uris, [(["dog"], "train"), (["cat", "dog"], "val"), ([], "test")], strict=True)
    )
    assert reasons(quarantine) == {"gone.mp4": "missing_file"}
    assert quarantine[0]["detail"] == f"There is no such file; it is named in s3://{bucket}/data/list.csv, row 5."
    blob(Path("d.mp4"))
    mixed, _ = ingested(table(Path("u.csv"), [(uris[0], "dog"), ("d.mp4", "dog")]), Path("mixed"))
    assert {row["path"] for row in mixed} == {uris[0], "d.mp4"}


def test_windows_of_long_objects_are_those_of_the_same_file_here(s3_server: S3Service, bucket: str) -> None:
    tiny_film(Path("v/dog/a.mp4"))
    upload(bucket, Path("v"))
    here, _ = ingested(Path("v"), Path("here"), "window_s=0.2", "hop_s=0.2")
    there, _ = ingested(f"s3://{bucket}/v", Path("there"), "window_s=0.2", "hop_s=0.2")
    assert len(here) == 3
    assert [(row["video_id"], row["start_s"], row["end_s"], row["sha256"]) for row in here] == [
        (row["video_id"], row["start_s"], row["end_s"], row["sha256"]) for row in there
    ]


def test_the_originals_json_names_videos_on_s3(put: Put, bucket: str) -> None:
    put("v/a.mp4")
    put("v/b.mkv")
    put("whole/c.webm")
    rows = [
        {"video_id": "a", "wav": "x.wav", "video_path": "v", "labels": "/m/1"},
        {"video_id": "b", "wav": "", "video_path": f"s3://{bucket}/v/", "labels": "/m/1"},
        {"video_id": "c", "wav": "", "video_path": "whole/c.webm", "labels": "/m/2"},
        {"video_id": "gone", "wav": "", "video_path": "v", "labels": ""},
        {"video_id": "../v/a", "wav": "", "video_path": "v", "labels": ""},
    ]
    put("list.json", json.dumps({"data": rows}).encode())
    clips, quarantine = ingested(f"s3://{bucket}/list.json", Path("out"))
    assert {row["name"]: row["path"].removeprefix(f"s3://{bucket}/") for row in clips} == {
        "a": "v/a.mp4", "b": "v/b.mkv", "c": "whole/c.webm"
    }  # fmt: skip
    assert [row["reason"] for row in quarantine] == ["missing_file", "missing_file"]
    assert any("nor one called gone.mp4 below it is there" in row["detail"] for row in quarantine)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("s3://{bucket}/nothing/", "there is no object below it"),
        ("s3://{bucket}", "there is no object below it"),
        ("s3://{bucket}/none.csv", r"none\.csv: no such file"),
        ("s3://{bucket}/none.json", r"none\.json: no such file"),
        ("s3://{bucket}/files/md5/ab/" + "0" * 30 + ".dir", r"no such object; push the data"),
        ("s3://{bucket}/some.dir", "is no directory object of DVC 3"),
        ("s3://t-no-such-bucket/v", "there is no such bucket"),
        ("s3://", "names no bucket"),
    ],
)
def test_a_source_that_is_not_there_is_wrong_input(bucket: str, source: str, says: str) -> None:
    source = source.format(bucket=bucket)
    for use in (read_source, source_version):
        with pytest.raises(InputError, match=says) as raised:
            use(source)
        assert "\n" not in str(raised.value)


def test_a_single_object_and_rows_that_lead_nowhere_are_wrong_input(put: Put) -> None:
    with pytest.raises(InputError, match="is a single object"):
        read_source(put("a.mp4"))
    for row, given in (("/abs.mp4", "/abs.mp4"), ("../../x.mp4", "../../x.mp4"), ("..", "..")):
        uri = put("data/bad.csv", f"path,labels\n{row},dog\n".encode())
        with pytest.raises(InputError, match=rf"bad\.csv, row 2: path '{given}' leads to no object"):
            read_source(uri)


def test_what_changed_or_vanished_after_ingest_costs_that_clip_alone(put: Put, bucket: str, s3_server: S3Service) -> None:
    for number in range(4):
        tiny_film(Path(f"v/{number}.mp4"), 0.2 + number / 10)
    upload(bucket, Path("v"))
    ingested(f"s3://{bucket}/v", Path("i"))
    content = Path("v/1.mp4").read_bytes()
    s3_server.client().delete_object(Bucket=bucket, Key="v/0.mp4")
    put("v/1.mp4", content[:-1] + bytes([content[-1] ^ 1]))
    put("v/2.mp4", b"short")
    done = extract_clips(Path("i/clips.parquet"), Path("s"), extract_params("workers=1"))
    assert (done.clips, done.quarantined, done.decoded) == (1, 3, 4)
    rows = list(read_rows(Path("s/quarantine.parquet"), QUARANTINE))
    assert {row["reason"] for row in rows} == {"unreadable_file"} and "run ingest again" in rows[0]["detail"]


def test_an_object_beyond_the_limit_is_not_fetched_and_a_higher_limit_makes_the_shard_anew(
    bucket: str, s3_server: S3Service
) -> None:
    for number in range(2):
        tiny_film(Path(f"v/{number}.mp4"), 0.2 + number / 10)
    sizes = sorted(path.stat().st_size for path in Path("v").iterdir())
    Path("v/large.mp4").write_bytes(Path("v/0.mp4").read_bytes() + b"\0" * 100_000)
    upload(bucket, Path("v"))
    ingested(f"s3://{bucket}/v", Path("i"))
    limited = extract_clips(Path("i/clips.parquet"), Path("s"), extract_params(f"max_download_bytes={sizes[-1]}"))
    assert (limited.clips, limited.quarantined) == (2, 1)
    assert [row["reason"] for row in read_rows(Path("s/quarantine.parquet"), QUARANTINE)] == ["too_large"]
    assert extract_clips(Path("i/clips.parquet"), Path("s"), extract_params("max_download_bytes=1000000")).written == 1


def test_a_service_that_goes_away_stops_extraction_and_poisons_no_clip(
    bucket: str, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_film(Path("v/a.mp4"))
    upload(bucket, Path("v"))
    ingested(f"s3://{bucket}/v", Path("i"))
    with monkeypatch.context() as patched:
        patched.setenv("AWS_SECRET_ACCESS_KEY", "changed")
        with pytest.raises(InputError, match=rf"s3://{bucket}/v/a\.mp4: access is denied"):
            extract_clips(Path("i/clips.parquet"), Path("s"), extract_params("workers=1"))
    assert list(Path("s").iterdir()) == []
    assert extract_clips(Path("i/clips.parquet"), Path("s"), extract_params("workers=1")).clips == 1


def test_the_version_of_a_source_changes_with_what_it_holds_and_with_nothing_else(put: Put, bucket: str, here: Path) -> None:
    blob(Path("v/a.mp4"))
    table(Path("t.csv"), [("v/a.mp4", "dog"), ("gone.mp4", "dog")])
    put("v/b.mp4")
    table(Path("u.csv"), [(f"s3://{bucket}/v/b.mp4", "dog")])
    listed = dvc_object(Path("r"), {"a.mp4": b"\0"})
    sources = ["sample", "v", "t.csv", "u.csv", f"s3://{bucket}/v", str(listed)]
    first = [source_version(source) for source in sources]
    assert first == [source_version(source) for source in sources] and len(set(first)) == len(first)
    assert all(len(version) == 16 and int(version, 16) >= 0 for version in first)
    os.utime("v/a.mp4", ns=(1, 1))
    put("v/b.mp4", b"\0new")
    changed = [source_version(source) for source in sources]
    assert [one == other for one, other in zip(first, changed, strict=True)] == [True, False, False, False, False, True]
    blob(Path("gone.mp4"))
    assert source_version("t.csv") != changed[2]
    Path("t.csv").write_text(Path("t.csv").read_text().replace("dog", "cat"))
    assert source_version("t.csv") != changed[2]
    assert source_version(str(dvc_object(Path("r"), {"a.mp4": b"\0", "b.mp4": b"\1"}))) != first[-1]
