"""Reading what `ingest` and `extract` delivered, and refusing what is not that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cavmae.dataset.labels import read_labels
from cavmae.dataset.schema import ADDED_LATER, CLIPS, FACTS, QUARANTINE
from cavmae.dataset.shelf import Shelf
from cavmae.errors import InputError
from cavmae.storage import read_json
from cavmae.stores import is_name


@dataclass(frozen=True)
class Delivery:
    """What `ingest` and `extract` delivered, as read."""

    manifest: pa.Table
    facts: pa.Table
    ingest_quarantine: pa.Table
    extract_quarantine: pa.Table
    labels: list[str]  # the mids of labels.csv, in order
    shards: list[dict[str, Any]]  # name, bytes, sha256, clips
    settings: dict[str, Any]  # of the extraction
    shelf: Shelf  # where the shards lie
    stored: bool  # whether that is a store of their own
    shard_bytes: dict[str, int]  # sizes of the files that are there
    ceiling: dict[str, float]  # best possible accuracy by modality, where the source knows it


def read_delivery(clips: Path, shards: Path) -> Delivery:
    """Read the folders of `ingest` and `extract`; what is missing or malformed raises InputError."""
    index = read_json(shards / "index.json")
    listed = index.get("shards") if isinstance(index, dict) else None
    if not isinstance(listed, list) or not isinstance(index.get("settings"), dict):
        raise InputError(f"{shards / 'index.json'}: 'shards' and 'settings' are missing; run `cavmae extract` again")
    for number, shard in enumerate(listed):
        wanted = {"name": str, "bytes": int, "sha256": str, "clips": int}
        given = shard if isinstance(shard, dict) else {}
        wrong = [key for key, kind in wanted.items() if not isinstance(given.get(key), kind)]
        if wrong or "/" in shard["name"] or not is_name(shard["name"]):
            raise InputError(
                f"{shards / 'index.json'}, shard {number}: '{(wrong or ['name'])[0]}' is missing or malformed; "
                "run `cavmae extract` again"
            )
    store = Shelf.beside(shards)
    shelf = store or Shelf(str(shards), {}, movable=True)
    return Delivery(
        manifest=_read_table(clips / "clips.parquet", CLIPS),
        facts=_read_table(shards / "facts.parquet", FACTS),
        ingest_quarantine=_read_table(clips / "quarantine.parquet", QUARANTINE),
        extract_quarantine=_read_table(shards / "quarantine.parquet", QUARANTINE),
        labels=[label.mid for label in read_labels(clips / "labels.csv")],
        shards=listed,
        settings=index["settings"],
        shelf=shelf,
        stored=store is not None,
        shard_bytes=shelf.sizes(shard["name"] for shard in listed),
        ceiling=read_json(clips / "source.json").get("ceiling", {}) if (clips / "source.json").is_file() else {},
    )


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the step that writes it first")
    try:
        table = pq.read_table(path)
        for name in ADDED_LATER & set(schema.names) - set(table.column_names):
            table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
        missing = [name for name in schema.names if name not in table.column_names]
        if missing:
            raise InputError(f"{path}: column '{missing[0]}' is missing; it has {', '.join(table.column_names)}")
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not the table it should be ({str(error).splitlines()[0]})") from None
