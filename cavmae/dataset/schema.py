"""The tables that steps hand to each other, as Arrow schemas; and reading and writing them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cavmae.errors import InputError
from cavmae.storage import write_atomic

Row = dict[str, Any]
ADDED_LATER = frozenset({"weight", "object"})  # columns that tables of earlier versions do not have

CLIPS = pa.schema(
    [
        ("video_id", pa.string()),  # unique; letters, digits, '_' and '-'
        ("name", pa.string()),  # the id as the source gave it
        ("path", pa.string()),  # video file or its s3:// URI, or the wav of an already extracted clip
        ("frames", pa.string()),  # folder that holds frame_0 .. frame_9 of an already extracted clip, else null
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),  # the clip is [start_s, end_s) of the file, cut at the file's end
        ("labels", pa.list_(pa.string())),
        ("group", pa.string()),  # clips of one group never stand in two splits
        ("split", pa.string()),  # train, val or test
        ("shard", pa.string()),
        ("sha256", pa.string()),  # of the source file; of sound and sizes of pictures where it came extracted
        ("bytes", pa.int64()),
        ("source", pa.string()),  # what --source was
        ("weight", pa.float64()),  # of balanced sampling, where the source came with weights, else null
        ("object", pa.string()),  # file or s3:// URI that holds the content, where `path` is only what people call it, else null
    ]
)

QUARANTINE = pa.schema(
    [
        ("video_id", pa.string()),
        ("path", pa.string()),
        ("step", pa.string()),  # the step that rejected the input
        ("reason", pa.string()),  # machine-readable, one word of the vocabulary in docs/quarantine.md
        ("detail", pa.string()),  # one human sentence
    ]
)

FACTS = pa.schema(
    [
        ("video_id", pa.string()),
        ("duration_s", pa.float64()),  # of the clip, as decoded
        ("fps", pa.float64()),  # frames per second, as decoded
        ("frames_decoded", pa.int64()),  # within the clip's window
        ("width", pa.int64()),  # pixels, as displayed (after rotation)
        ("height", pa.int64()),
        ("rotation", pa.int64()),  # degrees, clockwise
        ("video_codec", pa.string()),
        ("audio_codec", pa.string()),
        ("sample_rate", pa.int64()),  # Hz, of the source
        ("channels", pa.int64()),  # of the source
        ("audio_s", pa.float64()),  # seconds of sound within the window
        ("level_dbfs", pa.float64()),  # RMS of the 16 kHz mono waveform
        ("silence", pa.float64()),  # share of 100 ms blocks below the silence threshold
        ("frame_variance", pa.float64()),  # mean over pixels of the variance over the sampled frames, 0..255 scale
        ("notes", pa.list_(pa.string())),  # oddities that were handled: apply_rotation, downmix, short_clip, ...
    ]
)


def write_table(path: Path, rows: Iterable[Row], schema: pa.Schema, chunk: int = 10_000) -> int:
    """Write `rows` to a Parquet file, atomically and `chunk` rows at a time; return their number."""
    count = 0
    with write_atomic(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        buffer: list[Row] = []
        for row in rows:
            buffer.append(row)
            if len(buffer) == chunk:
                writer.write_table(pa.Table.from_pylist(buffer, schema=schema))
                count += len(buffer)
                buffer = []
        writer.write_table(pa.Table.from_pylist(buffer, schema=schema))
        count += len(buffer)
    return count


def read_rows(path: Path, schema: pa.Schema, chunk: int = 10_000) -> Iterator[Row]:
    """Yield the rows of a Parquet file, `chunk` at a time in memory; a file of another shape raises InputError.

    A column that older files lack is None in every row.
    """
    with _open(path, schema) as file:
        there = [name for name in schema.names if name in file.schema_arrow.names]
        absent = dict.fromkeys(name for name in schema.names if name not in there)
        batches = file.iter_batches(batch_size=chunk, columns=there)
        while True:
            try:
                batch = next(batches, None)
                rows = [] if batch is None else batch.to_pylist()
            except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: text that is none
                raise InputError(f"{path}: damaged Parquet file ({str(error).splitlines()[0]})") from None
            if batch is None:
                return
            yield from ({**row, **absent} for row in rows)


def count_rows(path: Path, schema: pa.Schema) -> int:
    """Return the number of rows of a Parquet file; a file of another shape raises InputError."""
    with _open(path, schema) as file:
        count: int = file.metadata.num_rows
        return count


def _open(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the step that writes it first")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    missing = [name for name in schema.names if name not in file.schema_arrow.names and name not in ADDED_LATER]
    if missing:
        file.close()
        raise InputError(f"{path}: column '{missing[0]}' is missing; it has {', '.join(file.schema_arrow.names)}")
    return file
