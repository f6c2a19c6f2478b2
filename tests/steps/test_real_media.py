"""Ingest and extract over real files: every input is a clip or has its reason, and the books balance."""

import csv
from pathlib import Path

import pytest

from cavmae.dataset.extraction import extract_clips
from cavmae.dataset.schema import CLIPS, FACTS, QUARANTINE, Row, read_rows
from tests.dataset.made import extract_params, ingested, table

pytestmark = pytest.mark.media

# What docs/quarantine.md says of files that end otherwise than the collection's manifest expects.
_OTHERWISE = {"media__sample_vvc.mp4": "no_audio", "mp4parse-rust__no_timescale.mp4": "no_audio"}


def read(path: str, schema: object) -> list[Row]:
    return list(read_rows(Path(path), schema))


@pytest.fixture
def media(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = (shared / "media").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real media at {folder}")
    monkeypatch.chdir(tmp_path)
    return folder


def test_each_of_the_odd_files_is_a_clip_or_has_a_reason(media: Path) -> None:
    clips, rejected = ingested(media / "bad" / "files", Path("i"))
    extract_clips(Path("i/clips.parquet"), Path("s"), extract_params("clip_timeout_s=60"))
    facts, quarantine = read("s/facts.parquet", FACTS), read("s/quarantine.parquet", QUARANTINE)
    assert sorted(row["video_id"] for row in [*facts, *quarantine]) == sorted(row["video_id"] for row in clips)
    inputs = {path.name for path in (media / "bad" / "files").iterdir()}
    name_of = {row["video_id"]: Path(row["path"]).name for row in clips}
    accepted = {name_of[row["video_id"]] for row in facts}
    reasons = {Path(row["path"]).name: row["reason"] for row in [*rejected, *quarantine]}
    assert accepted | set(reasons) == inputs and not accepted & set(reasons)
    assert not {"decoder_crashed", "decoder_timeout"} & set(reasons.values())
    for row in [*rejected, *quarantine]:
        assert row["detail"][0].isupper() and row["detail"].endswith(".") and "\n" not in row["detail"]
    with (media / "bad" / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = Path(row["file"]).name
            if row["expect"] == "reject":
                # sound alone is no clip, whatever else is wrong with it
                assert reasons[name] in ("no_video", _OTHERWISE.get(name, row["reason"])), name


def test_a_dozen_event_clips_come_through_whole(media: Path) -> None:
    with (media / "av" / "manifest.csv").open(newline="") as file:
        chosen = [row for row in csv.DictReader(file) if row["task"] == "event" and row["av_quality"] == "ok"][::10][:12]
    rows = [(media / "av" / row["path"], row["label"], row["split"], row["group"]) for row in chosen]
    clips, rejected = ingested(table(Path("t.csv"), rows, "path,labels,split,group"), Path("i"))
    extract_clips(Path("i/clips.parquet"), Path("s"), extract_params())
    facts = {row["video_id"]: row for row in read("s/facts.parquet", FACTS)}
    assert rejected == [] == read("s/quarantine.parquet", QUARANTINE)
    assert len(clips) == len(facts) == 12
    for row in chosen:
        found = facts[row["video_id"]]
        assert found["duration_s"] == pytest.approx(min(float(row["duration"]), 10.0), abs=0.3)
        assert found["sample_rate"] == int(row["sr"])
        assert [found["width"], found["height"]] == pytest.approx([int(row["width"]), int(row["height"])], abs=1)  # square pixels
    assert {row["video_id"]: row["split"] for row in read("i/clips.parquet", CLIPS)} == {
        row["video_id"]: row["split"] for row in chosen
    }
