"""The work of extract as a whole: only what is missing is made, the books balance, and other people's files stay."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from cavmae.dataset.extraction import extract_clips
from cavmae.dataset.schema import FACTS, QUARANTINE, read_rows
from cavmae.errors import InputError
from cavmae.storage import read_json, sha256_file
from tests.dataset.made import blob, extract_params, ingested, tiny_film


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(9):
        tiny_film(Path(f"v/dog/{number}.mp4"), 0.1 + number / 20)
    blob(Path("v/dog/noise.mp4"))
    return Path("v")


def test_made_once_continued_and_grown(source: Path) -> None:
    params = extract_params("workers=1")
    clips, _ = ingested(source, Path("i"), "shard_clips=3")
    first = extract_clips(Path("i/clips.parquet"), Path("s"), params)
    assert (first.clips, first.quarantined, first.decoded) == (9, 1, 10)
    assert first.shards == first.written == len({row["shard"] for row in clips})

    # every clip of the manifest has one fate, and the index tells the truth of the files
    fates = Counter(row["video_id"] for row in read_rows(Path("s/facts.parquet"), FACTS))
    fates.update(row["video_id"] for row in read_rows(Path("s/quarantine.parquet"), QUARANTINE))
    assert fates == Counter(row["video_id"] for row in clips)
    for shard in read_json(Path("s/index.json"))["shards"]:
        tar = Path("s") / f"{shard['name']}.tar"
        assert (shard["bytes"], shard["sha256"]) == (tar.stat().st_size, sha256_file(tar))

    # a second run decodes nothing and changes nothing
    before = contents(Path("s"))
    again = extract_clips(Path("i/clips.parquet"), Path("s"), params)
    assert (again.decoded, again.written) == (0, 0) and contents(Path("s")) == before

    # a shard that was lost is made again, what a killed run left goes, and what is not ours stays
    Path("s/train-00000.tar").unlink()
    blob(Path("s/val-00000.tar.4711.partial"))
    blob(Path("s/my-backup.tar"))
    blob(Path("s/a-b.json"))
    assert extract_clips(Path("i/clips.parquet"), Path("s"), params).written == 1
    assert {name for name in contents(Path("s")) if name not in before} == {"my-backup.tar", "a-b.json"}
    assert {name: content for name, content in contents(Path("s")).items() if name in before} == before

    # new clips give new shards and leave the old ones; a deleted clip leaves its shard
    tiny_film(Path("v/dog/new.mp4"), 0.9)
    ingested(source, Path("i"), "shard_clips=3")
    grown = extract_clips(Path("i/clips.parquet"), Path("s"), params)
    assert (grown.decoded, grown.written) == (1, 1)
    assert all(contents(Path("s"))[name] == content for name, content in before.items() if name.endswith(".tar"))
    Path("v/dog/new.mp4").unlink()
    ingested(source, Path("i"), "shard_clips=3")
    extract_clips(Path("i/clips.parquet"), Path("s"), params)
    assert {name: content for name, content in contents(Path("s")).items() if name in before} == before
    assert len(contents(Path("s"))) == len(before) + 2


def test_where_no_clip_can_be_used_the_tables_are_there_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blob(Path("v/noise.mp4"))
    ingested(Path("v"), Path("i"))
    counts = extract_clips(Path("i/clips.parquet"), Path("s"), extract_params("workers=1"))
    assert (counts.clips, counts.quarantined) == (0, 1)
    assert [row["reason"] for row in read_rows(Path("s/quarantine.parquet"), QUARANTINE)] == ["undecodable"]


def test_a_manifest_that_is_missing_or_damaged_is_wrong_input(source: Path) -> None:
    with pytest.raises(InputError, match="no such file; run the step that writes it first"):
        extract_clips(Path("i/clips.parquet"), Path("s"), extract_params())
    ingested(source, Path("i"))
    whole = Path("i/clips.parquet").read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole[:-8] + b"\xff\xff\xff\x7fPAR1"):
        Path("i/clips.parquet").write_bytes(damaged)
        with pytest.raises(InputError, match="not a readable Parquet file") as raised:
            extract_clips(Path("i/clips.parquet"), Path("s"), extract_params())
        assert "\n" not in str(raised.value)
    shutil.copy("i/quarantine.parquet", "i/clips.parquet")
    with pytest.raises(InputError, match="column 'name' is missing"):
        extract_clips(Path("i/clips.parquet"), Path("s"), extract_params())
