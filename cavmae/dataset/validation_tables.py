"""The tables that expectations are checked on: manifest, clips with their facts, labels, books, shards, totals."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cavmae.dataset.expectations import SPLITS, Table
from cavmae.dataset.validation_input import Delivery

RANGED_FACTS = (
    "duration_s", "frames_decoded", "sample_rate", "channels", "level_dbfs", "silence", "frame_variance"
)  # fmt: skip
_MANIFEST = ("video_id", "name", "path", "frames", "start_s", "end_s", "group", "split", "shard", "sha256")


def extracted_clips(delivery: Delivery) -> pd.DataFrame:
    """Return the manifest rows that extract produced and did not reject, joined with their facts.

    Columns: `position` in the manifest, the manifest's but labels, `label_count`, and the facts that have a range.
    """
    manifest = _frame(delivery.manifest, _MANIFEST)
    manifest["label_count"] = pc.list_value_length(delivery.manifest["labels"]).to_pandas()
    manifest["position"] = range(len(manifest))
    facts = _frame(delivery.facts, ("video_id", *RANGED_FACTS)).drop_duplicates("video_id")
    rejected = _frame(delivery.extract_quarantine, ("video_id",))["video_id"].dropna()
    joined = manifest.merge(facts, on="video_id", how="inner").sort_values("position", ignore_index=True)
    return joined[~joined["video_id"].isin(rejected)].reset_index(drop=True)


def has_labels(delivery: Delivery) -> bool:
    """True where at least one manifest row has a label."""
    return bool((pc.sum(pc.list_value_length(delivery.manifest["labels"])).as_py() or 0) > 0)


def build_tables(delivery: Delivery, clips: pd.DataFrame, rejected: int) -> dict[Table, pd.DataFrame]:
    """Return every table by name; `clips` are the accepted ones, `rejected` is how many validate itself rejects."""
    manifest = _frame(delivery.manifest, ("video_id", "group", "split", "shard", "sha256"))
    manifest["labels"] = pc.list_value_length(delivery.manifest["labels"]).to_pandas()
    used = _labels_of(delivery, clips)
    unlisted = used.loc[~used["label"].isin(delivery.labels), "position"].value_counts()
    clips = clips.assign(
        splits_of_group=_splits_of(clips, "group"),
        splits_of_content=_splits_of(clips, "sha256"),
        copies=clips.groupby(["sha256", "start_s", "end_s", "frames"], dropna=False)["position"].transform("size"),
        unlisted_labels=clips["position"].map(unlisted).fillna(0).astype("int64"),
        missing_facts=clips[list(RANGED_FACTS)].isna().sum(axis=1),
    )
    return {
        "manifest": manifest,
        "clips": clips,
        "labels": _label_table(delivery.labels, used),
        "books": _book_table(delivery, manifest),
        "shards": _shard_table(delivery, manifest),
        "totals": _total_table(delivery, clips, rejected),
    }


def _frame(table: pa.Table, columns: tuple[str, ...]) -> pd.DataFrame:
    frame: pd.DataFrame = table.select(list(columns)).to_pandas()
    return frame


def _splits_of(clips: pd.DataFrame, column: str) -> pd.Series:
    """Number of different splits in which the value of `column` stands, for each clip."""
    pairs = clips[[column, "split"]].drop_duplicates()
    return clips[column].map(pairs[column].value_counts())


def _labels_of(delivery: Delivery, clips: pd.DataFrame) -> pd.DataFrame:
    """One row per accepted clip and label: position, label, split."""
    labels = delivery.manifest["labels"].combine_chunks()
    pairs = pd.DataFrame({"position": pc.list_parent_indices(labels).to_pandas(), "label": pc.list_flatten(labels).to_pandas()})
    return pairs.merge(clips[["position", "split"]], on="position")


def _label_table(listed: list[str], used: pd.DataFrame) -> pd.DataFrame:
    counts = pd.crosstab(used["label"], used["split"]) if len(used) else pd.DataFrame()
    table = counts.reindex(index=pd.Index(listed, dtype="str"), columns=list(SPLITS), fill_value=0).astype("int64")
    table = table.rename_axis("label").rename_axis(columns=None).reset_index()
    held_out = table["val"] + table["test"] > 0
    return table.assign(
        clips=table[list(SPLITS)].sum(axis=1),
        train_where_held_out=table["train"].where(held_out),
        train_where_used=table["train"].where(table["train"] > 0),
    )


def _book_table(delivery: Delivery, manifest: pd.DataFrame) -> pd.DataFrame:
    extracted = _frame(delivery.facts, ("video_id",))["video_id"].value_counts()
    rejected = _frame(delivery.extract_quarantine, ("video_id",))["video_id"].value_counts()
    ids = pd.Index(manifest["video_id"].dropna().unique())
    every = ids.append(extracted.index.difference(ids)).append(rejected.index.difference(ids.union(extracted.index)))
    books = pd.DataFrame({"video_id": every.astype("str"), "in_manifest": every.isin(ids)})
    fates = books["video_id"].map(extracted).fillna(0) + books["video_id"].map(rejected).fillna(0)
    return books.assign(fates=fates.where(books["in_manifest"]))


def _shard_table(delivery: Delivery, manifest: pd.DataFrame) -> pd.DataFrame:
    produced = manifest.loc[manifest["video_id"].isin(delivery.facts["video_id"].to_pandas()), "shard"].value_counts()
    listed = {shard["name"]: shard for shard in delivery.shards}
    rows = [
        {
            "shard": name,
            "in_index": name in listed,
            "count_difference": listed[name]["clips"] - int(produced.get(name, 0)) if name in listed else None,
            "bytes_difference": delivery.shard_bytes.get(name, 0) - listed[name]["bytes"] if name in listed else None,
        }
        for name in sorted({*listed, *produced.index})
    ]
    columns = ["shard", "in_index", "count_difference", "bytes_difference"]
    return pd.DataFrame(rows, columns=columns).astype({"count_difference": "float64", "bytes_difference": "float64"})


def _total_table(delivery: Delivery, clips: pd.DataFrame, rejected: int) -> pd.DataFrame:
    ingest, extract = delivery.ingest_quarantine.num_rows, delivery.extract_quarantine.num_rows
    inputs = delivery.manifest.num_rows + ingest
    quarantined = ingest + extract + rejected
    splits = clips["split"].value_counts()
    return pd.DataFrame(
        [
            {
                "inputs": inputs,
                "manifest": delivery.manifest.num_rows,
                "clips": len(clips),
                **{split: int(splits.get(split, 0)) for split in SPLITS},
                "quarantined": quarantined,
                "quarantined_by_ingest": ingest,
                "quarantined_by_extract": extract,
                "quarantined_by_validate": rejected,
                "unaccounted": delivery.manifest.num_rows - len(clips) - extract - rejected,
                "quarantined_share": quarantined / inputs if inputs else 0.0,
            }
        ]
    )
