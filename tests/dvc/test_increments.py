"""Data that comes later: what was made of the first stays as it is, and the difference is told clip by clip."""

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset.schema import CLIPS, Row, read_rows
from tests.conftest import REPOSITORY
from tests.dvc.project import FIRST, commit, put_videos, run, stages_of
from tests.s3_service import S3Service

pytestmark = pytest.mark.slow

SHARDS = Path("data/shards")
COUNTS = {"added": 0, "removed": 0, "relabelled": 0, "changed": 0, "moved": 0, "quarantined": 0, "released": 0}


def clips(project: Path) -> dict[str, Row]:
    return {row["video_id"]: row for row in read_rows(project / "data/validated/clips.parquet", CLIPS)}


def tars(project: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, number and time of every shard."""
    paths = [path for path in (project / SHARDS).iterdir() if path.stem[-1].isdigit()]
    return {path.name: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def difference(project: Path, *versions: str) -> dict[str, Any]:
    said = run(project, "cavmae", "data", "diff", *versions, "--json")
    found: dict[str, Any] = json.loads(said)
    return found


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [record["video_id"] for record in records]


def real_clips(folder: Path) -> list[Path]:
    """A few real videos of other sizes, rates and lengths, where there are any."""
    media = Path(os.environ.get("CAVMAE_SHARED", REPOSITORY.parent / "shared")) / "media" / "av"
    if not (media / "manifest.csv").is_file():
        return []
    with (media / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "event" and row["av_quality"] == "ok"]
    wanted = sorted(rows, key=lambda row: int(row["size"]))[:3]
    folder.mkdir()
    return [Path(shutil.copy(media / row["path"], folder)) for row in wanted]


def test_added_videos_are_all_that_is_read_and_every_clip_stays_in_its_split(project: Path, s3_server: S3Service) -> None:
    shards, before = tars(project), clips(project)
    assert len(before) == FIRST
    # DVC reads each commit with that commit's own settings, so the remote has to be there before it
    run(project, "dvc", "remote", "add", "-q", "-d", "store", f"s3://{s3_server.bucket()}/dvc")

    new = put_videos(project, FIRST, FIRST + 4) + real_clips(project / "videos" / "outdoors")
    (project / "videos" / "hum_rise" / "cut off.mp4").write_bytes(new[0].read_bytes()[:3000])
    run(project, "dvc", "add", "-q", "videos")
    said = run(project, "dvc", "repro", "extract")
    assert stages_of(said) == ["ingest", "extract"]
    assert f" {len(new) + 1} clips decoded" in said, said
    now = tars(project)
    assert {name: now[name] for name in shards} == shards, "neither written nor replaced"
    assert now.keys() - shards.keys()

    run(project, "dvc", "repro", "validate")
    assert {name: clips(project)[name] for name in before} == before
    first = commit(project, "more videos")
    told = difference(project, "HEAD~1", "HEAD")
    assert told["counts"] == COUNTS | {"added": len(new), "quarantined": 1}
    assert sorted(ids(told["added"])) == sorted(clips(project).keys() - before.keys())
    (rejected,) = told["quarantined"]
    assert rejected["path"] == "videos/hum_rise/cut off.mp4" and rejected["reason"]

    # of the test split one gets another label and one goes; a train clip is another film now; the broken one is whole
    chosen = [row for row in clips(project).values() if row["split"] == "test"][:2]
    other = next(row for row in clips(project).values() if row["split"] == "train" and row["labels"] != chosen[0]["labels"])
    (label,) = other["labels"]
    moved = (project / chosen[0]["path"]).rename(project / "videos" / label / "another name.mp4")
    (project / chosen[1]["path"]).unlink()
    late = put_videos(project, FIRST + 4, FIRST + 6)
    late[0].replace(project / other["path"])
    late[1].replace(project / "videos" / "hum_rise" / "cut off.mp4")
    run(project, "dvc", "add", "-q", "videos")
    run(project, "dvc", "repro", "validate")
    second = commit(project, "other videos")
    told = difference(project, first, second)
    assert told["counts"] == COUNTS | {"added": 1, "removed": 1, "relabelled": 1, "changed": 1, "released": 1}
    assert ids(told["removed"]) == [chosen[1]["video_id"]] and ids(told["changed"]) == [other["video_id"]]
    assert told["relabelled"] == [{"video_id": chosen[0]["video_id"], "before": chosen[0]["labels"], "now": [label]}]
    assert [row["path"] for row in told["released"]] == [row["path"] for row in told["added"]] == [rejected["path"]]
    kept = clips(project)[chosen[0]["video_id"]]
    assert kept["split"] == "test" and project / kept["path"] == moved
    mended = clips(project)[told["added"][0]["video_id"]]
    touched = {row["shard"] for row in (*chosen, other, mended)}
    assert {name for name in now if tars(project).get(name) != now[name]} == {
        f"{shard}.{ending}" for shard in touched for ending in ("tar", "json")
    }

    # a clone that has pulled nothing reads both lists from the remote
    run(project, "dvc", "push", "-q", "--all-commits", "data/validated")
    clone = project.parent / "clone"
    run(project.parent, "git", "clone", "-q", str(project), str(clone))
    assert difference(clone, first, second) == told
    assert Counter(row["split"] for row in clips(project).values())["test"] >= 7
