"""Step `extract`: the videos of a manifest become tar shards of frames and sound."""

import logging
from pathlib import Path

from cavmae.dataset.params import ExtractParams
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


def extract(clips: Path, out: Path, params: ExtractParams) -> None:
    """Decode every clip of the manifest once, for frames and sound, and write tar shards with their index.

    Reads clips.parquet in `clips`. Writes into `out`: <shard>.tar and its record <shard>.json, index.json, facts.parquet (schema
    FACTS) and quarantine.parquet. Shards that are there already, made of the same clips with the same settings, are left
    as they are.
    """
    from cavmae.dataset.extraction import extract_clips

    counts = extract_clips(clips / "clips.parquet", out, params)
    rate = counts["decoded"] / counts["seconds"] if counts["decoded"] else 0.0
    log.info(
        "extract: %d clips in %d shards (%d shards written now), %d quarantined; %d clips decoded in %.1f s, %.1f clips/s, "
        "%.1f clips/s per worker -> %s",
        counts["clips"],
        counts["shards"],
        counts["written"],
        counts["quarantined"],
        counts["decoded"],
        counts["seconds"],
        rate,
        rate / params.workers,
        out,
    )


STEP = Step(
    function=extract,
    params=ExtractParams,
    inputs=(Artifact("clips", "data/ingest", "folder that `ingest` wrote"),),
    outputs=(Artifact("out", "data/shards", "folder for the shards and their index"),),
    image="data",
    cpu=2,
    memory_gb=4,
)
