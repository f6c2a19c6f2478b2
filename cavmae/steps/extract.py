"""Step `extract`: the videos of a manifest become tar shards of frames and sound."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.dataset.params import ExtractParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.dataset.extraction import Extracted

log = logging.getLogger(__name__)


def extract(clips: Path, out: Path, params: ExtractParams) -> "Extracted":
    """Decode every clip of the manifest once, for frames and sound, and write tar shards with their index.

    Reads clips.parquet in `clips`. Writes into `out`: <shard>.tar and its record <shard>.json, index.json, facts.parquet (schema
    FACTS) and quarantine.parquet. Shards that are there already, made of the same clips with the same settings, are left
    as they are.

    With `store` the shards go there instead, and location.json in `out` says so. With `part` as well, only a part of them is
    made, and `out` tells of that part alone, for people; a run without `part` finds all shards in the store and puts
    the index of the whole together.
    """
    from cavmae.dataset.extraction import extract_clips

    done = extract_clips(clips / "clips.parquet", out, params)
    rate = done.decoded / done.seconds if done.decoded else 0.0
    log.info(
        "extract: %s%d clips in %d shards (%d shards written now), %d quarantined; %d clips decoded in %.1f s, %.1f clips/s, "
        "%.1f clips/s per worker -> %s",
        f"part {params.part}: " if params.part else "",
        done.clips,
        done.shards,
        done.written,
        done.quarantined,
        done.decoded,
        done.seconds,
        rate,
        rate / params.workers,
        params.store or out,
    )
    return done


STEP = Step(
    function=extract,
    params=ExtractParams,
    inputs=(Artifact("clips", "data/ingest", "folder that `ingest` wrote"),),
    outputs=(Artifact("out", "data/shards", "folder for the shards and their index"),),
    image="data",
    cpu=2,
    memory_gb=4,
)
