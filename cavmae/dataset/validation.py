"""Validation of a dataset: single clips are rejected by rule, then the whole is held against expectations."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cavmae.dataset.expectations import SPLITS, Expectation, Limits, expectations
from cavmae.dataset.kept_lists import keep_lists
from cavmae.dataset.schema import CLIPS, QUARANTINE
from cavmae.dataset.shelf import LOCATION
from cavmae.dataset.validation_input import Delivery, read_delivery
from cavmae.dataset.validation_page import render_page
from cavmae.dataset.validation_tables import build_tables, extracted_clips, has_labels
from cavmae.dataset.validator import Outcome, Validation, check_tables, library_page
from cavmae.outputs import Written
from cavmae.storage import replace_folder, write_atomic, write_json

PAGE = Path("docs", "index.html")
_FORMAT = 2


WRITTEN = Written(
    "validate",
    ("clips.parquet", "quarantine.parquet", "labels.csv", "index.json", LOCATION, "verdict.json"),
    lambda folder: (folder / "verdict.json").is_file(),
    below=(PAGE.name, "great_expectations_*.html"),
)


@dataclass(frozen=True)
class Verdict:
    """Whether the dataset may be trained on; `failed` names the critical expectations that it did not meet."""

    passed: bool
    failed: list[str]
    why: str  # of the first that failed, what is wanted and what was found
    warned: list[str]
    counts: dict[str, int]
    page: Path

    def failure(self) -> str | None:
        """Return the one line that a closed gate gives, or None where it is open."""
        if self.passed:
            return None
        return f"validation failed: {', '.join(self.failed)} ({self.why}); {self.page} shows what was found"


def validate_dataset(clips: Path, shards: Path, out: Path, limits: Limits) -> Verdict:
    """Validate what `ingest` (folder `clips`) and `extract` (folder `shards`) delivered and write the folder `out`.

    `out` appears whole or not at all, passed or not; where the shards lie in a store, its lists are kept there too. Raises
    InputError where a table is missing or malformed.
    """
    delivery = read_delivery(clips, shards)
    labelled = has_labels(delivery)
    extracted = extracted_clips(delivery)
    rejected = reject_clips(extracted, limits, labelled)
    accepted = extracted[~extracted["position"].isin(rejected["position"])].reset_index(drop=True)
    tables = build_tables(delivery, accepted, len(rejected))
    wanted, skipped = expectations(limits, labelled)
    validation = check_tables(tables, wanted)
    totals = tables["totals"].drop(columns="quarantined_share").iloc[0]
    counts = {str(key): int(value) for key, value in totals.items()}
    unmet = [outcome.expectation for outcome in validation.outcomes if not outcome.passed]
    closing = [outcome for outcome in validation.outcomes if not outcome.passed and outcome.expectation.critical]
    wanted_and_found = [
        f"wanted: {outcome.expectation.sentence.rstrip('.')}; found: {'; '.join(outcome.examples[:1]) or outcome.observed}"
        for outcome in closing[:1]
    ]
    verdict = Verdict(
        passed=not any(item.critical for item in unmet),
        failed=[item.name for item in unmet if item.critical],
        why="".join(wanted_and_found),
        warned=[item.name for item in unmet if not item.critical],
        counts=counts,
        page=out / PAGE,
    )
    with replace_folder(out) as folder:
        quarantine = _union(delivery, rejected)
        _write_table(folder / "quarantine.parquet", quarantine)
        shutil.copyfile(clips / "labels.csv", folder / "labels.csv")
        positions = pa.array(accepted["position"], type=pa.int64())
        _write_table(folder / "clips.parquet", delivery.manifest.take(positions))
        write_json(folder / "index.json", _index(delivery, accepted, counts))
        delivery.shelf.write_location(folder, final=out)
        if delivery.stored:
            keep_lists(delivery.shelf.store, folder)
        write_json(folder / "verdict.json", _verdict_json(verdict, validation.outcomes, skipped))
        _write_documents(folder / PAGE.parent, verdict, validation, skipped, tables, quarantine)
    return verdict


def reject_clips(clips: pd.DataFrame, limits: Limits, labelled: bool) -> pd.DataFrame:
    """Return columns position, reason, detail of the clips that `limits` do not accept; the first reason counts."""
    found = []
    if labelled and not limits.allow_unlabelled:
        bare = clips.loc[clips["label_count"] == 0, ["position"]]
        found.append(bare.assign(reason="no_label", detail="The clip has no label and the dataset has labels."))
    if not limits.allow_static_pictures:
        still = clips.loc[clips["frame_variance"] < limits.min_frame_variance, ["position", "frame_variance"]]
        detail = still["frame_variance"].map(
            lambda variance: f"The picture stands still: variance {variance:.3g}, below {limits.min_frame_variance:g}."
        )
        found.append(still[["position"]].assign(reason="static_picture", detail=detail))
    columns = pd.DataFrame({"position": pd.Series(dtype="int64"), "reason": [], "detail": []})
    together = pd.concat(found) if found else columns
    return together.drop_duplicates("position").sort_values("position", ignore_index=True)


def _union(delivery: Delivery, rejected: pd.DataFrame) -> pa.Table:
    taken = delivery.manifest.take(pa.array(rejected["position"], type=pa.int64()))
    columns = {
        "video_id": taken["video_id"],
        "path": taken["path"],
        "step": pa.array(["validate"] * len(rejected), type=pa.string()),
        "reason": pa.array(rejected["reason"], type=pa.string()),
        "detail": pa.array(rejected["detail"], type=pa.string()),
    }
    own = pa.table(columns).cast(QUARANTINE)
    return pa.concat_tables([delivery.ingest_quarantine, delivery.extract_quarantine, own])


def _write_table(path: Path, table: pa.Table) -> None:
    schema = CLIPS if "split" in table.column_names else QUARANTINE
    with write_atomic(path) as partial:
        pq.write_table(table.replace_schema_metadata(None).cast(schema).combine_chunks(), partial)


def _index(delivery: Delivery, accepted: pd.DataFrame, counts: dict[str, int]) -> dict[str, Any]:
    used = set(accepted["shard"].unique())
    return {
        "format": _FORMAT,
        "settings": delivery.settings,
        "ceiling": delivery.ceiling,
        "shards": [shard for shard in delivery.shards if shard["name"] in used],
        "counts": {key: counts[key] for key in ("clips", *SPLITS, "quarantined")},
    }


def _verdict_json(verdict: Verdict, outcomes: list[Outcome], skipped: list[Expectation]) -> dict[str, Any]:
    return {
        "passed": verdict.passed,
        "counts": verdict.counts,
        "expectations": [
            {
                "name": outcome.expectation.name,
                "table": outcome.expectation.table,
                "critical": outcome.expectation.critical,
                "passed": outcome.passed,
                "observed": outcome.observed,
                "unexpected_count": outcome.unexpected,
                "examples": list(outcome.examples),
                "sentence": outcome.expectation.sentence,
            }
            for outcome in outcomes
        ],
        "skipped": [{"name": item.name, "sentence": "Skipped: the dataset has no labels."} for item in skipped],
    }


def _write_documents(
    folder: Path,
    verdict: Verdict,
    validation: Validation,
    skipped: list[Expectation],
    tables: dict[Any, pd.DataFrame],
    quarantine: pa.Table,
) -> None:
    folder.mkdir()
    page = render_page(verdict.passed, verdict.counts, validation.outcomes, skipped, tables, quarantine)
    (folder / PAGE.name).write_text(page, encoding="utf-8")
    for table, result in validation.results.items():
        (folder / f"great_expectations_{table}.html").write_text(library_page(result), encoding="utf-8")
