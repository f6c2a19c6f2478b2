"""Embeddings on disk, as Parquet or npz, written as they come: features are not kept in memory, however many clips there are.

An npz keeps the text of its clips (id, path, split), a few hundred bytes each, until it is closed: the longest sets the width
of the array.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cavmae.evaluation.embedding import Modality
from cavmae.evaluation.embedding_rows import Row
from cavmae.storage import to_json, write_atomic

ABOUT = "cavmae"  # key of the file's metadata, and name of an array: JSON that says which model made the features
_GROUP_BYTES = 16 << 20  # features in a row group
_STRINGS_AT_ONCE = 4096
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the first that the format knows: equal features give equal bytes


@dataclass(frozen=True)
class Layout:
    """What a file of embeddings holds: the shape of a clip's features by modality, all labels in order, and `about`."""

    shapes: Mapping[Modality, tuple[int, ...]]
    float16: bool
    labels: Sequence[str]
    about: Mapping[str, Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored features."""
        return np.dtype("<f2" if self.float16 else "<f4")

    @property
    def row_bytes(self) -> int:
        """Bytes of one clip's features."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values()) * self.dtype.itemsize


class EmbeddingFile(Protocol):
    """A file that takes batches of clips and their features [B, ...] by modality."""

    def write(self, rows: Sequence[Row], features: Mapping[Modality, np.ndarray]) -> None:
        """Append a batch."""


def holds_embeddings(path: Path) -> bool:
    """Whether a file is one that `parquet_file` or `npz_file` wrote: it says of itself which model made the features."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return f"{ABOUT}.npy" in archive.namelist()
        return ABOUT.encode() in (pq.read_metadata(path).metadata or {})
    except (zipfile.BadZipFile, pa.ArrowException):
        return False


@contextmanager
def parquet_file(path: Path, layout: Layout) -> Iterator[EmbeddingFile]:
    """Write Parquet to `path`, atomically: a row a clip, features as lists of fixed size (of tokens: lists of lists).

    Row groups hold 16 MiB of features, however large the batches are.
    """
    item = pa.float16() if layout.float16 else pa.float32()
    fields = [("video_id", pa.string()), ("path", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    fields += [("start_s", pa.float64()), ("end_s", pa.float64())]
    for modality, shape in layout.shapes.items():
        kind = item
        for size in reversed(shape):
            kind = pa.list_(kind, size)
        fields.append((modality, kind))
    schema = pa.schema(fields, metadata={ABOUT: to_json(layout.about)})
    dictionaries = ["path", "split", "labels.list.element"]
    with write_atomic(path) as partial, pq.ParquetWriter(partial, schema, use_dictionary=dictionaries) as writer:
        file = _Parquet(writer, schema, layout)
        yield file
        file.flush()


class _Parquet:
    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, layout: Layout) -> None:
        self._writer, self._schema, self._layout = writer, schema, layout
        self._group = max(1, _GROUP_BYTES // layout.row_bytes)
        self._rows: list[Row] = []
        self._features: dict[Modality, list[np.ndarray]] = {modality: [] for modality in layout.shapes}

    def write(self, rows: Sequence[Row], features: Mapping[Modality, np.ndarray]) -> None:
        for at, row in enumerate(rows):
            self._rows.append(row)
            for modality, kept in self._features.items():
                kept.append(features[modality][at].astype(self._layout.dtype))
            if len(self._rows) == self._group:
                self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        columns = {name: [getattr(row, name) for row in self._rows] for name in Row._fields}
        arrays = [pa.array(columns[name], self._schema.field(name).type) for name in Row._fields]
        for modality, kept in self._features.items():
            values = pa.array(np.concatenate([features.ravel() for features in kept]))
            for size in reversed(self._layout.shapes[modality]):
                values = pa.FixedSizeListArray.from_arrays(values, size)
            arrays.append(values)
            kept.clear()
        self._rows.clear()
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


@contextmanager
def npz_file(path: Path, layout: Layout) -> Iterator[EmbeddingFile]:
    """Write an npz that `np.load` reads to `path`, atomically: features [N, ...] by modality, and what is known of each clip.

    `labels` is an indicator uint8 [N, C] of `label_names` [C]. A clip of no data set has an empty split. An array of a zip
    must be written in one piece, so each waits in a nameless file of the same folder, which no killed run leaves behind.
    """
    with write_atomic(path) as partial, ExitStack() as stack:
        file = _Npz(layout, lambda: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)))
        yield file
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            file.close(archive)


class _Npz:
    def __init__(self, layout: Layout, new_file: Callable[[], IO[bytes]]) -> None:
        self._layout = layout
        self._index = {label: number for number, label in enumerate(layout.labels)}
        self._count = 0
        self._strings: dict[str, list[str]] = {"video_id": [], "path": [], "split": []}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            **{modality: (layout.dtype, shape) for modality, shape in layout.shapes.items()},
            "start_s": (np.dtype("<f8"), ()),
            "end_s": (np.dtype("<f8"), ()),
            "labels": (np.dtype("u1"), (len(layout.labels),)),
        }
        self._spools: dict[str, IO[bytes]] = {name: new_file() for name in self._kinds}

    def write(self, rows: Sequence[Row], features: Mapping[Modality, np.ndarray]) -> None:
        self._count += len(rows)
        for name, values in self._strings.items():
            values.extend(getattr(row, name) or "" for row in rows)
        labels = np.zeros((len(rows), len(self._index)), "u1")
        for number, row in enumerate(rows):
            labels[number, [self._index[label] for label in row.labels]] = 1
        arrays: dict[str, np.ndarray] = {"labels": labels}
        arrays |= {name: np.array([getattr(row, name) for row in rows]) for name in ("start_s", "end_s")}
        arrays |= {modality: features[modality] for modality in self._layout.shapes}
        for name, spool in self._spools.items():
            spool.write(arrays[name].astype(self._kinds[name][0]).tobytes())

    def close(self, archive: zipfile.ZipFile) -> None:
        for name, spool in self._spools.items():
            dtype, shape = self._kinds[name]
            with _member(archive, name, dtype, (self._count, *shape)) as member:
                spool.seek(0)
                shutil.copyfileobj(spool, member, 1 << 20)
        self._strings["label_names"] = list(self._layout.labels)
        for name, values in self._strings.items():
            dtype = np.dtype(f"<U{max([1, *map(len, values)])}")
            with _member(archive, name, dtype, (len(values),)) as member:
                for at in range(0, len(values), _STRINGS_AT_ONCE):
                    member.write(np.array(values[at : at + _STRINGS_AT_ONCE], dtype).tobytes())
        about = np.array(to_json(self._layout.about))
        with _member(archive, ABOUT, about.dtype, ()) as member:
            member.write(about.tobytes())


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Open one array of an npz for its values (NEP 1, version 1.0 of the header)."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE), "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        yield member
