"""A pipeline's run on the tiny sample set, as a user would start it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.build import _MODULES
from tests.training.tiny import REPOSITORY, SETTINGS

PIPELINE_STEPS = ("ingest", "extract", "validate", "adapt", "fetch", "pretrain", "finetune", "average", "evaluate", "compare")


def words(name: str, work: Path, fields: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None) -> list[str]:
    """The command's words: the tiny settings, in the form's fields where it has them, and what is asked for over them."""
    of_knob = {knob: field for field, knob in _MODULES[name].KNOBS.items()}
    given: dict[str, Any] = {"parts": 2}
    lines: dict[str, Any] = {}
    for step in _MODULES[name].STEPS:
        for key, value in SETTINGS.get(step, {}).items():
            knob = f"{step}.{key}"
            if knob in of_knob:
                given[of_knob[knob]] = "" if value == "null" else value
            else:
                lines[knob] = value
    given |= fields or {}
    lines |= overrides or {}
    text = "\n".join(f"{knob}={str(value).lower() if isinstance(value, bool) else value}" for knob, value in lines.items())
    chosen = [word for field, value in given.items() for word in ("-p", f"{field}={value}")]
    return ["run", name, "--work", str(work), *chosen, "-p", f"overrides={text}"]


def start(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pipelines` with these words."""
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *command],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def executed(log: str) -> list[str]:
    """The tasks that were run, not taken from the cache, in their order."""
    return [line.partition("Executing task '")[2].rstrip("'") for line in log.splitlines() if "Executing task '" in line]


def last_run(work: Path) -> Path:
    """The folder of the newest run's artifacts."""
    return max((work / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
