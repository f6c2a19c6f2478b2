"""The work of the component `farewell`: how a run ended, for a log, a page and a file."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cavmae.storage import to_json


def report_end(status: Any, pipeline: str, run_id: str, reports: str, page: str) -> None:
    """Write `<reports>/<run_id>.json` (not where `reports` is empty), the page, and a line to the log.

    `status` is kfp's PipelineTaskFinalStatus. A place for reports that cannot be written to is told of in the log, and does not
    change how the run ended.
    """
    ended = {
        "pipeline": pipeline,
        "run_id": run_id,
        "state": str(status.state),
        "error": str(status.error_message or ""),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    line = f"{pipeline}, run {run_id}: {ended['state']}" + (f" ({ended['error']})" if ended["error"] else "")
    sys.stderr.write(f"cavmae: {line}\n")
    Path(page).write_text(f"## {ended['state']}\n\n" + "\n".join(f"- {key}: {value}" for key, value in ended.items()) + "\n")
    if reports:
        from cavmae.errors import InputError, StepFailed
        from cavmae.stores import open_store
        from components.running import take_storage_settings

        take_storage_settings()
        try:
            open_store(reports).write(f"{run_id}.json", to_json(ended).encode())
        except (InputError, StepFailed, OSError) as error:
            sys.stderr.write(f"cavmae: the report could not be kept: {error}\n")
