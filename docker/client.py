"""Which program speaks to the container engine, and the two ways of asking it something."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

CLIENT_VARIABLE = "CAVMAE_DOCKER_CLIENT"
_DEBIAN = "/usr/bin/docker"  # builds by itself, where a newer client that stands before it in PATH may lack a plug-in for that
_FIRST_WITH_PLUGIN = 23


class Refused(Exception):
    """What was asked for cannot be done; the message says in one line why, and what to do. Exit code 2."""


def client() -> str:
    """Return the path of a docker client whose engine answers and that can build with BuildKit; raises Refused without one.

    CAVMAE_DOCKER_CLIENT names one; else it is that in PATH or Debian's own. DOCKER_HOST says where the engine is, as ever.
    """
    named = os.environ.get(CLIENT_VARIABLE)
    candidates = [named] if named else [path for path in (shutil.which("docker"), _DEBIAN) if path and os.access(path, os.X_OK)]
    answered = False
    for candidate in candidates:
        version = _answer([candidate, "version", "--format", "{{.Client.Version}} {{.Server.Version}}"])
        major = re.match(r"(\d+)\.", version or "")
        answered |= major is not None
        if major and (int(major[1]) < _FIRST_WITH_PLUGIN or _answer([candidate, "buildx", "version"])):
            return candidate
    if answered:
        raise Refused(f"{' and '.join(candidates)}: cannot build; install docker's buildx plug-in, or Debian's package docker.io")
    raise Refused("no container engine answers; start one with `docker/engine.sh up`, or set DOCKER_HOST")


def ask(words: Sequence[str]) -> str:
    """Return what a command prints, without the last line feed; raises Refused with the last line of its complaint."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Refused(f"{' '.join(words[:3])}: {complaint}")
    return done.stdout.rstrip("\n")


def _answer(words: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
