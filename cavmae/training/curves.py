"""Learning curves: one row an epoch, as TSV for `dvc plots` and as TensorBoard events."""

import contextlib
import csv
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cavmae.storage import write_atomic

log = logging.getLogger(__name__)
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
    """Writes the same rows, and what a curve file leaves out (speed), as events into `folder`.

    Events are for whoever watches: where they cannot be written, one warning says so and the training goes on. They are written
    here and now, not by a thread as torch's SummaryWriter does, which may hang when that thread has failed.
    """

    def __init__(self, folder: Path, start_epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.folder, self._event, self._summary = folder, Event, Summary
        self._file: BinaryIO | None = None
        with self._warning():
            folder.mkdir(parents=True, exist_ok=True)
            host, process = socket.gethostname(), os.getpid()
            self._file = (folder / f"events.out.tfevents.{time.time():010.0f}.{host}.{process}.0").open("wb")
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
            # a resumed run hides the events that the killed one wrote beyond its last checkpoint
            session = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=start_epoch, session_log=session))
            self._file.flush()

    def add(self, epoch: int, values: CurveRow) -> None:
        """Add one epoch's values."""
        if self._file is None:
            return
        with self._warning():
            for key, value in values.items():
                scalar = self._summary.Value(tag=key.replace("_", "/", 1), simple_value=value)
                self._write(self._event(wall_time=time.time(), step=epoch, summary=self._summary(value=[scalar])))
            self._file.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._file is not None:
            with self._warning():
                self._file.close()
        self._file = None

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        RecordWriter(self._file).write(event.SerializeToString())

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.warning(
                "%s: TensorBoard's events cannot be written (%s); training goes on without", self.folder, error.strerror or error
            )
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
