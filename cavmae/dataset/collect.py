"""The work of `ingest`: read the source, hash the files, write the manifest."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cavmae.dataset.hashing import HashJournal
from cavmae.dataset.ingestion import (
    Placement,
    Window,
    build_manifest,
    cut_windows,
    reject_at_sight,
    split_unprintable,
)
from cavmae.dataset.labels import Label, read_labels, write_labels
from cavmae.dataset.params import IngestParams
from cavmae.dataset.schema import CLIPS, QUARANTINE, Row, read_rows, write_table
from cavmae.dataset.sources import Candidate, read_source
from cavmae.errors import InputError
from cavmae.storage import read_json, sha256_json, work_folder, write_json

log = logging.getLogger(__name__)


def collect(out: Path, params: IngestParams) -> dict[str, int]:
    """Write clips.parquet, quarantine.parquet, labels.csv and source.json into `out`; return the counts."""
    candidates, facts = _candidates(out, params)
    source = {"source": params.source, "val_source": params.val_source, "test_source": params.test_source}
    previous = _previous(out, source)
    labels = _labels(candidates, params.labels_csv, read_labels(out / "labels.csv") if previous else [])
    log.info("ingest: %d inputs in %s", len(candidates), params.source)
    candidates, unnamed = split_unprintable(candidates)
    candidates, rejected = reject_at_sight(candidates)
    candidates = cut_windows(candidates, Window(params.window_s, params.hop_s))
    journal = HashJournal(work_folder("ingest") / f"{sha256_json(source)[:16]}.jsonl")
    hashes = journal.hash_files((candidate.path for candidate in candidates), params.workers)
    placement = Placement(params.seed, params.val_share, params.test_share, params.shard_clips)
    rows, duplicates = build_manifest(candidates, hashes, previous, placement, params.source)
    if not rows:
        raise InputError(f"source {params.source}: none of its {len(candidates) + len(rejected)} inputs is a media file")
    quarantine = sorted([*unnamed, *rejected, *duplicates], key=lambda row: (row["path"], row["reason"]))
    write_labels(out / "labels.csv", labels)
    write_table(out / "quarantine.parquet", quarantine, QUARANTINE)
    write_json(out / "source.json", {**source, **facts})
    write_table(out / "clips.parquet", rows, CLIPS)
    splits = Counter(row["split"] for row in rows)
    return {
        "clips": len(rows),
        "train": splits["train"],
        "val": splits["val"],
        "test": splits["test"],
        "labels": len(labels),
        "quarantined": len(quarantine),
    }


def _candidates(out: Path, params: IngestParams) -> tuple[list[Candidate], dict[str, object]]:
    if params.source == "sample":
        from cavmae.dataset.sample import SampleSettings
        from cavmae.dataset.samplefiles import sample_candidates, sample_ceilings

        settings = SampleSettings(seed=params.seed, **params.sample.model_dump())
        ceilings = sample_ceilings(settings.shared_facts)
        return sample_candidates(settings, out / "sample", params.workers), {"ceiling": ceilings}
    candidates = read_source(params.source)
    fixed = bool(params.val_source) or bool(params.test_source)
    if fixed:
        candidates = [replace(candidate, split=candidate.split or "train") for candidate in candidates]
    for extra, split in ((params.val_source, "val"), (params.test_source, "test")):
        if extra:
            candidates += [replace(candidate, split=split) for candidate in read_source(extra)]
    return candidates, {}


def _labels(candidates: Sequence[Candidate], labels_csv: str | None, before: list[Label]) -> list[Label]:
    """The label list as given; without one, the labels of earlier runs in their order, then new ones sorted by name."""
    if labels_csv is not None:
        labels = read_labels(Path(labels_csv))
        known = {label.mid for label in labels}
        for candidate in candidates:
            unknown = [name for name in candidate.labels if name not in known]
            if unknown:
                raise InputError(
                    f"{candidate.where}: label {unknown[0]!r} is not in {labels_csv}; add it there or correct the row"
                )
        return labels
    names = {name for candidate in candidates for name in candidate.labels}
    kept = [label for label in before if label.mid in names]
    new = sorted(names - {label.mid for label in kept})
    return [*kept, *(Label(name, name) for name in new)]


def _previous(out: Path, source: dict[str, str | None]) -> list[Row]:
    """The manifest of an earlier run on the same source; another source starts afresh."""
    if not (out / "clips.parquet").is_file() or not (out / "source.json").is_file():
        return []
    before = read_json(out / "source.json")
    if any(before.get(key) != value for key, value in source.items()):
        return []
    return list(read_rows(out / "clips.parquet", CLIPS))
