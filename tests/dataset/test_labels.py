"""The label list, and CSV files in general: what is wrong is said with file and row."""

from pathlib import Path

import pytest

from cavmae.dataset.labels import Label, read_csv, read_labels, write_labels
from cavmae.errors import InputError

ODD = [Label("/m/0abc", "Dog, barking"), Label('say "hi"', "ümläut ♫"), Label("two\nlines", "-x"), Label("0", "0")]


def test_labels_survive_writing_and_reading(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.csv", ODD)
    assert read_labels(tmp_path / "labels.csv") == ODD


def test_labels_come_in_the_order_of_their_index(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("index,mid,display_name\n1,b,B\n0,a,A\n")
    assert [label.mid for label in read_labels(tmp_path / "l.csv")] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("index,mid,display_name\n0,a,A\nx,b,B\n", r"l\.csv, row 3: index 'x' is not a whole number"),
        ("index,mid,display_name\n0,a,A\n0,b,B\n", r"l\.csv, row 3: index 0 stands there twice"),
        ("index,mid,display_name\n0,a,A\n2,b,B\n", r"l\.csv: indexes must run from 0 to 1"),
        ("index,mid,display_name\n0,a,A\n1,a,B\n", r"l\.csv: one mid stands there twice"),
        ("index,mid,display_name\n0,a\n", r"l\.csv, row 2: 'display_name' is missing"),
        ("index,name\n0,a\n", r"l\.csv, row 2: 'mid' is missing; the columns are index,mid,display_name"),
        ("index,mid,display_name\n0,a,A,B\n", r"l\.csv, row 2: 4 values under 3 columns; quote"),
        ("", r"l\.csv: the file is empty"),
        ('index,mid,display_name\n0,"a,A\n', r"l\.csv: not a valid CSV"),
    ],
)
def test_a_wrong_label_list_names_file_and_row(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=says) as raised:
        read_labels(tmp_path / "l.csv")
    assert "\n" not in str(raised.value)


def test_a_spreadsheet_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,labels\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"l\.csv: cannot be read as UTF-8 text"):
        read_csv(tmp_path / "l.csv")


def test_a_byte_order_mark_blank_lines_and_capitals_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"\xef\xbb\xbfPath , LABELS\r\n\r\n a.mp4 ,dog\r\n,\r\n")
    assert read_csv(tmp_path / "l.csv") == [(3, {"path": "a.mp4", "labels": "dog"})]


def test_a_missing_file_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(tmp_path)
