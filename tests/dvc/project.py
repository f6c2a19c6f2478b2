"""A user's project under git and DVC: small videos, small parameters, and the commands that a user types."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from cavmae.dataset.sample import SampleSettings, plan, render
from tests.conftest import REPOSITORY
from tests.training.tiny import SETTINGS

CLIPS = SampleSettings(clips=48, broken=False, seconds=1.0, size=32, fps=8, sample_rate=16000, seed=3, shared_facts=True)
FIRST = 40  # videos that the project begins with
_IDENTITY = {f"GIT_{who}_{what}": "user@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
_QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "DVC_NO_ANALYTICS": "1"}


def run(project: Path, *words: str, code: int = 0) -> str:
    """Run a command as a user in the project does, with its own code; return all that it says."""
    places = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(project)}
    done = subprocess.run(
        words,
        cwd=project,
        env={**os.environ, **_IDENTITY, **_QUIET, **places},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{' '.join(words)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def commit(project: Path, message: str) -> str:
    """Commit everything; return the commit."""
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", message)
    return run(project, "git", "rev-parse", "HEAD").strip()


def put_videos(project: Path, first: int, last: int) -> list[Path]:
    """Render videos into a folder for each label."""
    made = [(clip, project / "videos" / clip.label / f"{clip.name}.mp4") for clip in plan(CLIPS)[first:last]]
    for clip, path in made:
        render(clip, CLIPS, path)
    return [path for _, path in made]


def stages_of(said: str) -> list[str]:
    """The stages whose command was run, as DVC tells."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage ")]


def trained(folder: Path) -> Path:
    """Return the project, trained and committed; made once, also where several processes ask for it."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder / "project", ignore_errors=True)
            _make(folder / "project")
            (folder / "made").touch()
    return folder / "project"


def begin(project: Path, also: Iterable[str] = (), **changes: Any) -> None:
    """Make the project, untrained: code (`also`: what else of the repository), parameters, the first videos, git without commits.

    `changes` are parameters beside the small ones, `ingest__seed` for `ingest.seed`.
    """
    for name in ("cavmae", ".dvc/config", ".dvc/.gitignore", "dvc.yaml", ".gitignore", ".dvcignore", *also):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, project / name)
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for section, values in SETTINGS.items():
        for key, value in values.items():
            _set_in(document[section], key, value)
    document["ingest"] |= {"source": "videos", "watch": "videos"}
    for key, value in changes.items():
        _set_in(document, key.replace("__", "."), value)
    (project / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    put_videos(project, 0, FIRST)
    run(project, "git", "init", "-q", "--initial-branch=main")


def _make(project: Path) -> None:
    begin(project)
    run(project, "dvc", "add", "-q", "videos")
    commit(project, "videos")  # of the code's commit a lineage tells
    run(project, "dvc", "repro", "-q")
    commit(project, "trained")


def _set_in(document: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for name in above:
        document = document[name]
    document[last] = yaml.safe_load(value) if isinstance(value, str) else value
