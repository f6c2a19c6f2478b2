"""Learning curves: one row an epoch, as TSV for `dvc plots` and as TensorBoard events."""

import csv
from pathlib import Path

from cavmae.storage import write_atomic

CurveRow = dict[str, float]


def write_curves(path: Path, rows: list[CurveRow]) -> None:
    """Write the rows as TSV, atomically; numbers with 6 significant digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with write_atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{row[key]:.6g}" if key in row else "" for key in columns] for row in rows)


def read_curves(path: Path) -> list[CurveRow]:
    """Read what `write_curves` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file, delimiter="\t")]


class TensorBoard:
    """Writes the same rows, and what a curve file leaves out (speed), as events into `folder`."""

    def __init__(self, folder: Path, start_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # a resumed run hides the events that the killed one wrote beyond its last checkpoint
        self._writer = SummaryWriter(str(folder), purge_step=start_epoch)

    def add(self, epoch: int, values: CurveRow) -> None:
        """Add one epoch's values."""
        for key, value in values.items():
            self._writer.add_scalar(key.replace("_", "/", 1), value, epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
