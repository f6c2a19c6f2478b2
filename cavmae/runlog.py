"""Who ran what, when, where and for how long: one line a finished command, gathered into run.json by `package`."""

import getpass
import json
import os
import platform
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cavmae.storage import work_folder

RUN_VARIABLE = "CAVMAE_RUN_ID"


def _path() -> Path:
    return work_folder("runs.jsonl")


@contextmanager
def recorded(step: str, outputs: dict[str, str]) -> Iterator[None]:
    """Write a line with start and duration of the step when it has finished; one without outputs leaves no trace.

    Of several processes that a launcher started as one (RANK), the first writes it.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    yield
    if not outputs or os.environ.get("RANK", "0") != "0":
        return
    line = {
        "step": step,
        "outputs": outputs,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 2),
    }
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        # the line break comes first: a line that a killed command left unfinished then spoils no other
        file.write("\n" + json.dumps(line, sort_keys=True))


def run_facts() -> dict[str, Any]:
    """Return who, when, where, run id, hardware, and the last recorded run of each step by its first output."""
    latest: dict[str, Any] = {}
    if _path().is_file():
        for text in _path().read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the line that a killed command was writing
            latest[f"{line['step']} {next(iter(line['outputs'].values()), '')}".strip()] = line
    return {
        "run_id": os.environ.get(RUN_VARIABLE) or uuid.uuid4().hex,
        "user": user_name(),
        "host": socket.gethostname(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": {"machine": platform.machine(), "system": platform.platform(), "cpus": os.cpu_count()},
        "steps": latest,
    }


def user_name() -> str:
    """Return the name of who runs this, or the number where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
