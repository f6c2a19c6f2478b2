"""Files of embeddings: what is written is what is read, in memory that does not grow, the same bytes every time."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cavmae.evaluation import embedding_files
from cavmae.evaluation.embedding_files import ABOUT, Layout, npz_file, parquet_file
from cavmae.evaluation.embedding_rows import Row

POOLED = Layout({"audio": (6,), "joint": (6,)}, False, ("x", "y", "z"), {"features": "pooled"})
TOKENS = Layout({"video": (4, 6)}, False, ("x", "y", "z"), {"features": "tokens"})
WRITERS = {"parquet": parquet_file, "npz": npz_file}


def rows(count: int) -> list[Row]:
    return [
        Row(f"id{n}", f"vidéos/{n}.mp4", None if n % 3 else "train", ("x", "z")[: n % 3], n / 2, n / 2 + 1) for n in range(count)
    ]


def values(layout: Layout, count: int) -> dict[Any, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=(count, *shape)).astype(np.float32) for name, shape in layout.shapes.items()}


def write(path: Path, layout: Layout, count: int = 10, batch: int = 4) -> dict[Any, np.ndarray]:
    features = values(layout, count)
    with WRITERS[path.suffix[1:]](path, layout) as file:
        for at in range(0, count, batch):
            file.write(rows(count)[at : at + batch], {name: one[at : at + batch] for name, one in features.items()})
    return features


@pytest.mark.parametrize("layout", [POOLED, TOKENS], ids=["pooled", "tokens"])
def test_parquet_gives_back_what_was_written(tmp_path: Path, layout: Layout) -> None:
    features = write(tmp_path / "a.parquet", layout)
    table = pq.read_table(tmp_path / "a.parquet")
    for name, shape in layout.shapes.items():
        np.testing.assert_array_equal(np.array(table[name].to_pylist(), np.float32), features[name])
        kind = table.schema.field(name).type
        assert kind.list_size == shape[0] and (len(shape) == 1 or kind.value_type.list_size == shape[1])
    plain = table.select(Row._fields).to_pylist()
    assert plain == [{**row._asdict(), "labels": list(row.labels)} for row in rows(10)]
    assert json.loads(table.schema.metadata[ABOUT.encode()]) == layout.about


@pytest.mark.parametrize("layout", [POOLED, TOKENS], ids=["pooled", "tokens"])
def test_npz_gives_back_what_was_written(tmp_path: Path, layout: Layout) -> None:
    features = write(tmp_path / "a.npz", layout)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        for name in layout.shapes:
            np.testing.assert_array_equal(found[name], features[name])
        assert found["video_id"].tolist() == [f"id{n}" for n in range(10)] and found["path"][1] == "vidéos/1.mp4"
        assert found["split"].tolist() == ["train", "", "", "train", "", "", "train", "", "", "train"]
        assert found["start_s"].tolist() == [n / 2 for n in range(10)]
        names = found["label_names"]
        assert [tuple(names[row > 0]) for row in found["labels"]] == [row.labels for row in rows(10)]
        assert json.loads(str(found[ABOUT])) == layout.about


@pytest.mark.parametrize("suffix", WRITERS)
def test_half_precision_halves_the_features(tmp_path: Path, suffix: str) -> None:
    layout = Layout({"audio": (6,)}, True, ("x", "y", "z"), {})
    features = write(tmp_path / f"a.{suffix}", layout)
    if suffix == "npz":
        found = np.load(tmp_path / "a.npz")["audio"]
        assert found.dtype == np.float16
    else:
        table = pq.read_table(tmp_path / "a.parquet")
        assert table.schema.field("audio").type == pa.list_(pa.float16(), 6)
        found = np.array(table["audio"].to_pylist())
    np.testing.assert_array_equal(found, features["audio"].astype(np.float16))


@pytest.mark.parametrize("suffix", WRITERS)
def test_bytes_depend_on_neither_the_run_nor_the_batches(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_files, "_GROUP_BYTES", 3 * POOLED.row_bytes)
    monkeypatch.setattr(embedding_files, "_STRINGS_AT_ONCE", 4)
    for name, batch in (("a", 4), ("b", 4), ("c", 7)):
        write(tmp_path / f"{name}.{suffix}", POOLED, batch=batch)
    contents = {(tmp_path / f"{name}.{suffix}").read_bytes() for name in "abc"}
    assert len(contents) == 1
    if suffix == "parquet":
        assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 4


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_failure_on_the_way_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path, POOLED)
    before = path.read_bytes()
    with pytest.raises(RuntimeError), WRITERS[suffix](path, POOLED) as file:
        file.write(rows(4), values(POOLED, 4))
        raise RuntimeError
    assert path.read_bytes() == before and [other.name for other in tmp_path.iterdir()] == [path.name]


def peak(path: Path, clips: int) -> int:
    """Highest memory in bytes, of numpy and of Arrow together, while `clips` of 400 kB each are written."""
    layout = Layout({"audio": (100, 1000)}, False, (), {})
    features = np.random.default_rng(0).normal(size=(10, 100, 1000)).astype(np.float32)
    arrow: list[int] = []
    tracemalloc.start()
    with WRITERS[path.suffix[1:]](path, layout) as file:
        for _ in range(0, clips, 10):
            file.write([row._replace(labels=()) for row in rows(10)], {"audio": features})
            arrow.append(pa.total_allocated_bytes())
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path.unlink()
    return highest + max(arrow)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_memory_does_not_grow_with_the_number_of_clips(tmp_path: Path, suffix: str) -> None:
    few, many = (peak(tmp_path / f"a.{suffix}", clips) for clips in (100, 400))
    assert many < 1.2 * few + (2 << 20), "400 clips are 160 MB, 120 MB more than 100"
