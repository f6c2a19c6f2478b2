"""The list of labels: `index,mid,display_name`, as AudioSet and VGGSound publish theirs."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from cavmae.errors import InputError
from cavmae.storage import write_atomic
from cavmae.stores import read_text

_HEADER = ["index", "mid", "display_name"]


@dataclass(frozen=True)
class Label:
    """One class: `mid` is what clips carry, `display_name` what people read."""

    mid: str
    display_name: str


def read_labels(path: Path | str) -> list[Label]:
    """Return the labels of a label CSV in order of their index; raises InputError naming the row that is wrong."""
    labels: dict[int, Label] = {}
    for row, record in read_csv(path):
        missing = [name for name in _HEADER if not record.get(name)]
        if missing:
            raise InputError(f"{path}, row {row}: '{missing[0]}' is missing; the columns are {','.join(_HEADER)}")
        try:
            index = int(record["index"])
        except ValueError:
            raise InputError(f"{path}, row {row}: index {record['index']!r} is not a whole number") from None
        if index in labels:
            raise InputError(f"{path}, row {row}: index {index} stands there twice")
        labels[index] = Label(record["mid"], record["display_name"])
    if sorted(labels) != list(range(len(labels))):
        raise InputError(f"{path}: indexes must run from 0 to {len(labels) - 1} without a gap")
    if len({label.mid for label in labels.values()}) < len(labels):
        raise InputError(f"{path}: one mid stands there twice; every label needs its own")
    return [labels[index] for index in range(len(labels))]


def write_labels(path: Path, labels: list[Label]) -> None:
    """Write the label CSV."""
    with write_atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows([index, label.mid, label.display_name] for index, label in enumerate(labels))


def read_csv(path: Path | str) -> list[tuple[int, dict[str, str]]]:
    """Return `(row number, {column: value})` of a CSV with a header, a file or on S3; column names are stripped, in lower case.

    The header is row 1. Raises InputError for a file that cannot be read as UTF-8 CSV.
    """
    text = read_text(path)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: not a valid CSV ({error})") from None
    if not rows:
        raise InputError(f"{path}: the file is empty; it needs a header row")
    header = [name.strip().lower() for name in rows[0]]
    records = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) > len(header):
            raise InputError(
                f"{path}, row {number}: {len(row)} values under {len(header)} columns; quote values that hold a comma"
            )
        records.append((number, dict(zip(header, (value.strip() for value in row), strict=False))))
    return records
