"""The git commit that images are tagged with."""

import hashlib
import subprocess
from pathlib import Path

from cavmae.errors import InputError

_ROOT = Path(__file__).resolve().parent.parent
_BUILT_FROM = ".dockerignore"  # its exceptions name what goes into the images


def image_tag(root: Path = _ROOT) -> str:
    """Return the commit of the working copy, 40 digits, with `-dirty` where what images are built from was changed.

    That is how `make images` tags. Raises InputError where there is no git: the settings then name tags or digests.
    """
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD")
        ignored = (root / _BUILT_FROM).read_text(encoding="utf-8").splitlines()
        sources = [line[1:] for line in ignored if line.startswith("!")]
        changed = _git(root, "status", "--porcelain", "--", *sources, "docker/Dockerfile", _BUILT_FROM)
    except (OSError, subprocess.CalledProcessError):
        raise InputError(f"{root}: is no git working copy; give images.data and images.train a tag in --settings FILE") from None
    return f"{commit}-dirty" if changed else commit


def code_tag(root: Path = _ROOT) -> str:
    """Return what stands for the code of tasks that run as processes: a hash of the source files, whether committed or not."""
    digest = hashlib.sha256()
    for package in ("cavmae", "components"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"code-{digest.hexdigest()[:16]}"


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
