"""Step `ingest`: a source of videos becomes a clip manifest with splits and a plan of shards."""

import logging
from pathlib import Path

from cavmae.dataset.params import IngestParams
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


def ingest(out: Path, params: IngestParams) -> dict[str, int]:
    """List the clips of a source: identity, labels, split, content hash and shard of each.

    Writes into `out`: clips.parquet (schema CLIPS), quarantine.parquet, labels.csv and source.json; the sample set's files
    lie in out/sample. A second run on the same source keeps every id, split and shard that the first gave: the first is
    remembered by `out`, or by `memory` where that is given. Returns the counts. Raises InputError for a source, row or label
    that is wrong.
    """
    from cavmae.dataset.collect import collect

    counts = collect(out, params)
    log.info(
        "ingest: %d clips (%d train, %d val, %d test), %d labels, %d files quarantined -> %s",
        counts["clips"],
        counts["train"],
        counts["val"],
        counts["test"],
        counts["labels"],
        counts["quarantined"],
        out,
    )
    return counts


STEP = Step(
    function=ingest,
    params=IngestParams,
    inputs=(),
    outputs=(Artifact("out", "data/ingest", "folder for clips.parquet, labels.csv and quarantine.parquet"),),
    image="data",
    cpu=2,
    memory_gb=4,
)
