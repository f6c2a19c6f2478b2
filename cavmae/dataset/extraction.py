"""The work of `extract`: manifest in, shards with index, facts and quarantine out, in memory that does not grow with clips."""

import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cavmae.dataset.params import ExtractParams
from cavmae.dataset.pool import write_shards
from cavmae.dataset.schema import CLIPS, FACTS, QUARANTINE, Row, read_rows, write_table
from cavmae.dataset.shards import FORMAT, ShardTask, store_shard, write_shard
from cavmae.dataset.shelf import LOCATION, Shelf, stored_name
from cavmae.dataset.splits import SPLITS
from cavmae.media.clip import ClipSettings
from cavmae.progress import Progress
from cavmae.storage import PARTIAL, remove_leftovers, write_json
from cavmae.stores import ahead

_SHARD_FILE = re.compile(rf"({'|'.join(SPLITS)})-[0-9]+\.(tar|json)")
_FETCHED = re.compile(r"source\.[0-9]+\.partial")
_UNSENT = f"unsent{PARTIAL}"  # shards that are not in the store yet


@dataclass(frozen=True)
class Extracted:
    """What `extract` did, and what there is now."""

    clips: int  # in the shards of the manifest, or of the part
    quarantined: int
    shards: int
    written: int  # shards that were not there before
    decoded: int  # clips that were read for them
    seconds: float


class _Planned(NamedTuple):
    name: str
    fingerprint: str
    clips: int


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


def extract_clips(manifest: Path, out: Path, params: ExtractParams) -> Extracted:
    """Write what is missing of the manifest's shards, or of a part of them, then index, facts and quarantine into `out`.

    The shards go into `out`, or into `params.store` where that is given.
    """
    settings = clip_settings(params)

    def tasks() -> Iterator[ShardTask]:
        for name, rows in itertools.groupby(read_rows(manifest, CLIPS), key=lambda row: row["shard"]):
            yield ShardTask(name, list(rows), settings, params.jpeg_quality, {}, params.max_download_bytes)

    everything = [_Planned(task.name, task.fingerprint, len(task.rows)) for task in tasks()]
    plan = _part(everything, params.part)
    files = {shard.name: stored_name(shard.name, shard.fingerprint) for shard in plan} if params.store else {}
    shelf = Shelf(params.store or str(out), files)
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    decoded = 0

    def on_clip() -> None:
        nonlocal decoded
        decoded += 1
        progress.advance()

    with Progress("extracting", sum(shard.clips for shard in plan)) as progress, _desk(out, params.store) as desk:
        wanted = set()
        there = ahead(lambda shard: shelf.holds(shard.name, shard.fingerprint), plan, shelf.store.threads)
        for shard, is_there in zip(plan, there, strict=True):
            if is_there:
                progress.advance(shard.clips)
            else:
                wanted.add(shard.name)
        write = partial(store_shard, shelf) if params.store else write_shard
        lacking = (task for task in tasks() if task.name in wanted) if wanted else iter(())
        written = sum(1 for _ in write_shards(desk, lacking, params.workers, params.clip_timeout_s, on_clip, write))
        seconds = progress.elapsed
    if params.store:
        shelf.write_location(out)
    else:
        (out / LOCATION).unlink(missing_ok=True)
        _remove_unplanned(out, {shard.name for shard in everything})
    clips, rejected = _write_tables(out, shelf, sorted(shard.name for shard in plan), settings, params)
    return Extracted(clips, rejected, len(plan), written, decoded, seconds)


def _part(plan: list[_Planned], part: str | None) -> list[_Planned]:
    """Every n-th shard: a part of 3/8 has the third, the eleventh and so on."""
    if part is None:
        return plan
    number, _, of = part.partition("/")
    return plan[int(number) - 1 :: int(of)]


def _clear(out: Path) -> None:
    """Remove what killed runs left."""
    remove_leftovers(out)
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink() and (path.name == _UNSENT or _FETCHED.fullmatch(path.name)):
            shutil.rmtree(path)


@contextmanager
def _desk(out: Path, store: str | None) -> Iterator[Path]:
    """Yield the folder in which shards are written: `out` itself, or one that is gone when they are in the store."""
    if store is None:
        yield out
        return
    desk = out / _UNSENT
    desk.mkdir()
    try:
        yield desk
    finally:
        shutil.rmtree(desk, ignore_errors=True)


def _remove_unplanned(out: Path, names: set[str]) -> None:
    for path in out.iterdir():
        if _SHARD_FILE.fullmatch(path.name) and path.stem not in names:
            path.unlink()


def _write_tables(out: Path, shelf: Shelf, names: list[str], settings: ClipSettings, params: ExtractParams) -> tuple[int, int]:
    """Put the records together, each read once; only what was rejected is held in memory."""
    quarantine: list[Row] = []
    shards: list[dict[str, Any]] = []

    def facts() -> Iterator[Row]:
        for record in shelf.records(names):
            quarantine.extend(record["quarantine"])
            shards.append({key: record[key] for key in ("name", "bytes", "sha256")} | {"clips": len(record["members"])})
            yield from record["facts"]

    clips = write_table(out / "facts.parquet", facts(), FACTS)
    rejected = write_table(out / "quarantine.parquet", quarantine, QUARANTINE)
    settings_json = {**asdict(settings), "jpeg_quality": params.jpeg_quality}
    write_json(out / "index.json", {"format": FORMAT, "settings": settings_json, "shards": shards})
    return clips, rejected
