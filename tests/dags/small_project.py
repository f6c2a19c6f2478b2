"""What an Airflow worker trains in: a small project, and what its registry tells."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.dvc.project import begin, commit


def make_project(folder: Path, **changes: Any) -> Path:
    """Make it, with videos that nobody trained on; `changes` are parameters, `ingest__seed` for `ingest.seed`."""
    also = ("pipelines", "components", "recipes", ".dockerignore")
    begin(folder, also, compare__rule="not_worse", compare__margin=0.99, **changes)
    commit(folder, "videos")
    return folder


def history(project: Path, registry: Path | None = None) -> list[dict[str, Any]]:
    """What its registry tells, the oldest first; nothing where there is none."""
    words = ["history", "--json", *(["--registry", str(registry)] if registry else [])]
    done = subprocess.run([sys.executable, "-m", "cavmae", *words], cwd=project, capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)["history"] if done.returncode == 0 else []
    return found
