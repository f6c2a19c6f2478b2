"""A checkout with small parameters and a few generated videos: what an Airflow worker trains in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from cavmae.dataset.sample import SampleSettings, plan, render
from tests.conftest import REPOSITORY
from tests.training.tiny import SETTINGS

CLIPS = SampleSettings(clips=44, broken=False, seconds=1.0, size=32, fps=8, sample_rate=16000, seed=3, shared_facts=True)


def make_project(folder: Path, **changes: Any) -> Path:
    """Make it, with 40 videos, as a git repository; `changes` are parameters, `ingest__seed` for `ingest.seed`."""
    folder.mkdir(parents=True)
    for name in ("cavmae", "pipelines", "components", "recipes"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dockerignore"):
        shutil.copy(REPOSITORY / name, folder)
    document = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in SETTINGS.items():
        for key, value in values.items():
            _set(document[section], key, value)
    document["ingest"] |= {"source": "videos", "watch": "videos"}
    document["compare"] |= {"rule": "not_worse", "margin": 0.99}
    for key, value in changes.items():
        _set(document, key.replace("__", "."), value)
    (folder / "params.yaml").write_text(yaml.safe_dump(document))
    put_videos(folder, 0, 40)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"], ["git", "add", "."], [*_COMMIT, "Small project"]):
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


_COMMIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m")


def put_videos(project: Path, first: int, last: int) -> None:
    """Add generated videos, a folder for each label."""
    for clip in plan(CLIPS)[first:last]:
        render(clip, CLIPS, project / "videos" / clip.label / f"{clip.name}.mp4")


def history(project: Path, registry: Path | None = None) -> list[dict[str, Any]]:
    """What its registry tells, the oldest first."""
    words = ["history", "--json", *(["--registry", str(registry)] if registry else [])]
    done = subprocess.run([sys.executable, "-m", "cavmae", *words], cwd=project, capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)["history"] if done.returncode == 0 else []
    return found


def _set(document: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for name in above:
        document = document[name]
    document[last] = yaml.safe_load(value) if isinstance(value, str) else value
