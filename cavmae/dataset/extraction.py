"""The work of `extract`: manifest in, shards with index, facts and quarantine out, in memory that does not grow with clips."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cavmae.dataset.params import ExtractParams
from cavmae.dataset.pool import write_shards
from cavmae.dataset.schema import CLIPS, FACTS, QUARANTINE, Row, count_rows, read_rows, write_table
from cavmae.dataset.shards import FORMAT, ShardTask, is_written, shard_paths
from cavmae.dataset.splits import SPLITS
from cavmae.media.clip import ClipSettings
from cavmae.progress import Progress
from cavmae.storage import read_json, remove_leftovers, write_json

_SHARD_FILE = re.compile(rf"({'|'.join(SPLITS)})-[0-9]+\.(tar|json)")


def clip_settings(params: ExtractParams) -> ClipSettings:
    """What the media room needs to know of the parameters."""
    return ClipSettings(
        frames=params.frames,
        image_size=params.frame_size,
        sample_rate=params.sample_rate,
        frame_index=params.frame_index,
        min_duration_s=params.min_duration_s,
        silence_dbfs=params.silence_dbfs,
        max_pixels=params.max_pixels,
    )


def extract_clips(manifest: Path, out: Path, params: ExtractParams) -> dict[str, float]:
    """Write what is missing of the manifest's shards into `out`, then index, facts and quarantine; return the counts."""
    settings = clip_settings(params)
    total = count_rows(manifest, CLIPS)
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    names: list[str] = []

    def tasks() -> Iterator[ShardTask]:
        for name, rows in itertools.groupby(read_rows(manifest, CLIPS), key=lambda row: row["shard"]):
            names.append(name)
            task = ShardTask(name, list(rows), settings, params.jpeg_quality, poisoned={})
            if is_written(out, task):
                progress.advance(len(task.rows))
            else:
                yield task

    with Progress("extracting", total) as progress:
        decoded = 0

        def on_clip() -> None:
            nonlocal decoded
            decoded += 1
            progress.advance()

        written = sum(1 for _ in write_shards(out, tasks(), params.workers, params.clip_timeout_s, on_clip))
        seconds = progress.elapsed
    _remove_unplanned(out, set(names))
    counts = _write_tables(out, sorted(names), settings, params)
    return {**counts, "decoded": decoded, "written": written, "seconds": seconds}


def _remove_unplanned(out: Path, names: set[str]) -> None:
    for path in out.iterdir():
        if _SHARD_FILE.fullmatch(path.name) and path.stem not in names:
            path.unlink()


def _write_tables(out: Path, names: list[str], settings: ClipSettings, params: ExtractParams) -> dict[str, int]:
    def records() -> Iterator[dict[str, Any]]:
        for name in names:
            yield read_json(shard_paths(out, name)[1])

    facts: Iterator[Row] = (row for record in records() for row in record["facts"])
    quarantine: Iterator[Row] = (row for record in records() for row in record["quarantine"])
    clips = write_table(out / "facts.parquet", facts, FACTS)
    rejected = write_table(out / "quarantine.parquet", quarantine, QUARANTINE)
    shards = [
        {"name": record["name"], "bytes": record["bytes"], "sha256": record["sha256"], "clips": len(record["members"])}
        for record in records()
    ]
    settings_json = {**asdict(settings), "jpeg_quality": params.jpeg_quality}
    write_json(out / "index.json", {"format": FORMAT, "settings": settings_json, "shards": shards})
    return {"clips": clips, "quarantined": rejected, "shards": len(shards)}
