"""Asking git, where there is one."""

import subprocess
from pathlib import Path

_PATIENCE_S = 60


def git(*words: str, at: Path | None = None) -> str | None:
    """Return what `git WORDS` says in a folder, the current one unless named; None where it fails, or is not there."""
    place = [] if at is None else ["-C", str(at)]
    try:
        done = subprocess.run(["git", *place, *words], capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip("\n")
