"""Tables of earlier versions can still be read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cavmae.dataset.schema import CLIPS, Row, read_rows, write_table
from cavmae.dataset.validation_input import _read_table
from cavmae.errors import InputError

ROW: Row = dict.fromkeys(CLIPS.names) | {"video_id": "a", "labels": ["x"], "weight": 2.0}


def without(path: Path, column: str) -> None:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns([column]), path)


def test_a_table_from_before_sampling_weights_has_none(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    write_table(path, [ROW], CLIPS)
    assert list(read_rows(path, CLIPS)) == [ROW]
    without(path, "weight")
    assert list(read_rows(path, CLIPS)) == [ROW | {"weight": None}]
    assert _read_table(path, CLIPS).to_pylist() == [ROW | {"weight": None}]


def test_text_that_is_none_is_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    write_table(path, [ROW | {"video_id": "quite-plain"}], CLIPS)
    path.write_bytes(path.read_bytes().replace(b"quite-plain", b"quite\xffplain"))
    with pytest.raises(InputError, match=r"clips\.parquet: damaged Parquet file"):
        list(read_rows(path, CLIPS))


def test_any_other_column_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    write_table(path, [ROW], CLIPS)
    without(path, "labels")
    with pytest.raises(InputError, match="column 'labels' is missing"):
        list(read_rows(path, CLIPS))
    assert isinstance(CLIPS, pa.Schema)
