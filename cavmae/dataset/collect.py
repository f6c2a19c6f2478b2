"""The work of `ingest`: read the source, hash the files, write the manifest."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cavmae.dataset.departed import DEPARTED, Departed
from cavmae.dataset.examining import Examination
from cavmae.dataset.hashing import HashJournal
from cavmae.dataset.ingestion import (
    Window,
    build_manifest,
    cut_windows,
    reject_at_sight,
    split_unprintable,
)
from cavmae.dataset.labels import Label, read_labels, write_labels
from cavmae.dataset.memory import Memory
from cavmae.dataset.params import IngestParams
from cavmae.dataset.placement import Placement
from cavmae.dataset.schema import CLIPS, QUARANTINE, Row, read_rows, write_table
from cavmae.dataset.sources import Candidate, read_source, same_directory, with_weights
from cavmae.errors import InputError
from cavmae.storage import read_json, remove_leftovers, sha256_json, work_folder, write_json

log = logging.getLogger(__name__)


def collect(out: Path, params: IngestParams) -> dict[str, int]:
    """Write clips.parquet, quarantine.parquet, labels.csv and source.json into `out`; return the counts."""
    remove_leftovers(out)
    candidates, facts = _candidates(out, params)
    source = {"source": params.source, "val_source": params.val_source, "test_source": params.test_source}
    identity = _identity(source)
    key = sha256_json(identity)[:16]
    journal, stored_journal = (work_folder("ingest") / f"{key}{ending}" for ending in (".jsonl", ".stored.jsonl"))
    out.mkdir(parents=True, exist_ok=True)  # seen now rather than after hours of hashing
    memory = Memory(params.memory, identity) if params.memory else None
    if memory is not None:
        memory.recall(out, [journal, stored_journal])
    previous = _previous(out, identity)
    gone = Departed.read(out / DEPARTED) if previous else Departed()
    log.info("ingest: %d inputs in %s", len(candidates), params.source)
    candidates, unnamed = split_unprintable(candidates)
    labels = _labels(candidates, params.labels_csv, _labels_before(out, previous))
    examination = Examination(stored_journal, measure=params.hop_s is not None)
    found = examination.look_into((candidate.stored for candidate in candidates if candidate.stored), params.workers)
    candidates, rejected = reject_at_sight(candidates, found)
    candidates = cut_windows(candidates, Window(params.window_s, params.hop_s))
    files = (candidate.path for candidate in candidates if not candidate.stored)
    hashes = HashJournal(journal).hash_files(files, params.workers)
    # clips of a split that has a source of its own are not taken from elsewhere
    val_share = 0.0 if params.val_source else params.val_share
    test_share = 0.0 if params.test_source else params.test_share
    placement = Placement(params.seed, val_share, test_share, params.shard_clips)
    rows, duplicates = build_manifest(candidates, hashes, previous, gone, placement, params.source)
    quarantine = sorted([*unnamed, *rejected, *duplicates], key=lambda row: (row["path"], row["reason"]))
    if not rows:
        reasons = Counter(row["reason"] for row in quarantine).most_common()
        raise InputError(
            f"source {params.source}: none of its {len(quarantine)} inputs is a media file that can be read "
            f"({', '.join(f'{count} {reason}' for reason, count in reasons)}; docs/quarantine.md explains the words)"
        )
    if not previous:
        (out / "clips.parquet").unlink(missing_ok=True)  # a run killed below must not pass another source's clips off as its own
    write_labels(out / "labels.csv", labels)
    write_table(out / "quarantine.parquet", quarantine, QUARANTINE)
    write_json(out / "source.json", {**source, **facts})
    gone.updated(previous, rows).write(out / DEPARTED)
    write_table(out / "clips.parquet", rows, CLIPS)
    if memory is not None:
        memory.keep(out, [journal, stored_journal])
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
    if params.weights_csv is not None:
        candidates = with_weights(candidates, params.weights_csv, params.source)
    for extra, split in ((params.val_source, "val"), (params.test_source, "test")):
        if extra:
            candidates += [replace(candidate, split=split) for candidate in read_source(extra)]
    return candidates, {}


def _labels(candidates: Sequence[Candidate], labels_csv: str | None, before: list[Label]) -> list[Label]:
    """The label list as given; without one, the labels of earlier runs in their order, then new ones sorted by name."""
    if labels_csv is not None:
        labels = read_labels(labels_csv)
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


def _labels_before(out: Path, previous: list[Row]) -> list[Label]:
    if not previous or not (out / "labels.csv").is_file():
        return []
    return read_labels(out / "labels.csv")


def _identity(source: Mapping[str, str | None]) -> dict[str, str | None]:
    """What stays the same when the data of a source grows."""
    return {key: same_directory(value) if value else None for key, value in source.items()}


def _previous(out: Path, identity: dict[str, str | None]) -> list[Row]:
    """The manifest of an earlier run on the same source, or on another version of a folder that DVC tracks.

    Another source starts afresh.
    """
    if not (out / "clips.parquet").is_file() or not (out / "source.json").is_file():
        return []
    before = read_json(out / "source.json")
    if _identity({key: before.get(key) for key in identity}) != identity:
        return []
    return list(read_rows(out / "clips.parquet", CLIPS))
