"""Sources: the directory object of a folder that DVC tracks, wherever its remote lies."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cavmae.dataset.extraction import extract_clips
from cavmae.dataset.sources import read_source
from cavmae.errors import InputError
from tests.dataset.made import blob, dvc_list, dvc_object, extract_params, ingested, reads, reasons, tiny_film, upload
from tests.s3_service import S3Service

pytestmark = pytest.mark.usefixtures("here")


def test_a_dvc_directory_object_is_the_folder_that_it_was(s3_server: S3Service, bucket: str) -> None:
    films = {"dog/a.mp4": 0.2, "dog/sub/b.mp4": 0.3, "cat/c d.mp4": 0.4, "e.mp4": 0.5, ".hidden/f.mp4": 0.6}
    for relpath, loudness in films.items():
        tiny_film(Path("v") / relpath, loudness)
    remote = Path("remote/data")
    listed = dvc_object(remote, {relpath: (Path("v") / relpath).read_bytes() for relpath in films})
    upload(bucket, Path("remote"))
    expected = {"dog/a.mp4": ["dog"], "dog/sub/b.mp4": ["dog"], "cat/c d.mp4": ["cat"], "e.mp4": []}
    made = {}
    for where, source in (("here", str(listed)), ("there", f"s3://{bucket}/{listed}")):
        clips, quarantine = ingested(f"{source}", Path(where), "shard_clips=2")
        assert {row["path"]: row["labels"] for row in clips} == expected and quarantine == []
        for row in clips:
            content = (Path("v") / row["path"]).read_bytes()
            md5 = hashlib.md5(content).hexdigest()
            assert row["object"] == f"{source.partition('/files/')[0]}/files/md5/{md5[:2]}/{md5[2:]}"
            assert (row["sha256"], row["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
        done = extract_clips(Path(where) / "clips.parquet", Path(where) / "s", extract_params("workers=1"))
        assert (done.clips, done.quarantined) == (4, 0)
        made[where] = {path.name: path.read_bytes() for path in (Path(where) / "s").iterdir()}
        assert not [name for name in made[where] if "source" in name]
    assert made["here"] == made["there"], "the same clips, wherever their content lies"


def test_another_version_of_a_tracked_folder_keeps_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"dog/{number}.mp4": b"\0%d" % number for number in range(6)}
    before, _ = ingested(f"{dvc_object(Path('r'), files)}", Path("out"), "shard_clips=3")
    read = reads(monkeypatch)
    grown = dvc_object(Path("r"), {**files, "cat/new.mp4": b"\0new"})
    after, _ = ingested(f"{grown}", Path("out"), "shard_clips=3")
    assert read == ["cat/new.mp4"]
    kept = {row["path"]: {**row, "source": ""} for row in after}
    assert all(kept[row["path"]] == {**row, "source": ""} for row in before) and len(after) == 7


def test_objects_that_were_not_pushed_or_are_damaged_are_quarantined(here: Path) -> None:
    files = {name: b"\0" + name.encode() for name in ("a.mp4", "b.mp4", "c.mp4")}
    listed = dvc_object(Path("r"), files)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    Path(f"r/files/md5/{md5['a.mp4'][:2]}/{md5['a.mp4'][2:]}").unlink()
    Path(f"r/files/md5/{md5['b.mp4'][:2]}/{md5['b.mp4'][2:]}").write_bytes(b"\0x.mp4")
    clips, quarantine = ingested(f"{listed}", Path("out"))
    assert [row["path"] for row in clips] == ["c.mp4"]
    assert reasons(quarantine) == {"a.mp4": "missing_file", "b.mp4": "unreadable_file"}
    # once it was pushed again, it is a clip
    dvc_object(Path("r"), files)
    assert len(ingested(f"{listed}", Path("out"))[0]) == 3


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "tab\there",
    "nul\0",
    "a//b",
    "\ud800.mp4",
    "s3://other/x.mp4",
    "x" * 2000,
]


def test_hostile_relpaths_harm_nobody(here: Path) -> None:
    md5 = hashlib.md5(b"\0good").hexdigest()
    dvc_object(Path("r"), {"good.mp4": b"\0good"})
    rows = [{"md5": md5, "relpath": name} for name in ["good.mp4", *HOSTILE]]
    clips, quarantine = ingested(f"{dvc_list(Path('r'), rows)}", Path("out"))
    assert [row["path"] for row in clips] == ["good.mp4"]
    assert [row["reason"] for row in quarantine] == ["bad_file_name"] * len(HOSTILE)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({}, "lists no files"),
        ([], "lists no files"),
        ([1], "entry 0: 'relpath' is missing"),
        ([{"relpath": "a"}], "entry 0: 'md5' is missing or no MD5"),
        ([{"relpath": "a", "md5": "../../../../etc/passwd"}], "entry 0: 'md5' is missing or no MD5"),
        ([{"relpath": "a", "md5": "a" * 32 + ".dir"}], "entry 0: 'md5' is missing or no MD5"),
        ([{"relpath": "a", "md5": "a" * 32}, {"relpath": "a", "md5": "b" * 32}], "entry 1: 'a' stands there twice"),
        ([{"relpath": ".a", "md5": "a" * 32}], "lists hidden files only"),
    ],
)
def test_a_directory_object_that_is_none_is_wrong_input(rows: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_source(str(dvc_list(Path("r"), rows)))


def test_a_directory_object_whose_content_is_another_is_wrong_input(here: Path) -> None:
    listed = dvc_object(Path("r"), {"a.mp4": b"\0"})
    listed.write_bytes(listed.read_bytes() + b" ")
    with pytest.raises(InputError, match="its content is not what its name says"):
        read_source(str(listed))


def test_a_folder_may_be_called_as_a_directory_object_is(here: Path) -> None:
    blob(Path("clips.dir/dog/a.mp4"))
    assert [candidate.labels for candidate in read_source("clips.dir")] == [("dog",)]


@pytest.mark.slow
def test_a_million_entries_are_listed_in_time_and_memory(here: Path) -> None:
    rows = [
        {"md5": hashlib.md5(b"%d" % number).hexdigest(), "relpath": f"{number % 300}/{number}.mp4"} for number in range(10**6)
    ]
    listed = dvc_list(Path("r"), rows)
    start = time.monotonic()
    candidates = read_source(str(listed))
    assert len(candidates) == 10**6 and time.monotonic() - start < 120


@pytest.mark.slow
def test_what_dvc_itself_pushed_is_read(here: Path) -> None:
    blob(Path("v/dog/a.mp4"))
    blob(Path("v/ü b.mp4"))
    dvc = shutil.which("dvc")
    assert dvc, "DVC is a tool of this project"
    for words in (["init", "--no-scm"], ["remote", "add", "-d", "store", str(here / "remote")], ["add", "v"], ["push"]):
        subprocess.run([dvc, *words, "-q"], check=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"})
    (listed,) = Path("remote").glob("files/md5/*/*.dir")
    clips, quarantine = ingested(f"{listed}", Path("out"))
    assert {row["path"]: row["labels"] for row in clips} == {"dog/a.mp4": ["dog"], "ü b.mp4": []} and not quarantine
