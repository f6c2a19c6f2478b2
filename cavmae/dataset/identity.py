"""What a clip is known by: a name that is safe as a key of a tar shard and stays when data is added, and its content."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from cavmae.storage import sha256_json

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 60


def video_id(name: str, where: str, taken: set[str]) -> str:
    """Return a unique id of letters, digits, `_` and `-` for the clip that its source calls `name`.

    A clean name that is not taken is kept; any other gets a hash of `where` (its path and window) behind it. The id is
    added to `taken`.
    """
    clean = _UNSAFE.sub("_", name)[:_LONGEST].strip("_").lstrip("-") or "clip"
    candidate = clean
    attempt = 0
    while candidate in taken or (clean != name and not attempt):
        salted = where if attempt == 0 else f"{where} {attempt}"
        digest = hashlib.sha256(salted.encode("utf-8", "surrogatepass")).hexdigest()
        candidate = f"{clean}-{digest[:8]}"
        attempt += 1
    taken.add(candidate)
    return candidate


def frame_folders(frames: Path) -> list[Path]:
    """Return the folders frame_0, frame_1, ... that there are."""
    folders: list[Path] = []
    while (folder := frames / f"frame_{len(folders)}").is_dir():
        folders.append(folder)
    return folders


def with_pictures(digest: str, folders: Sequence[Path], name: str) -> str:
    """Return the digest of a clip that came extracted: of its sound's `digest` and the sizes of its pictures.

    Equal sound is no copy: silent clips have it. Sizes tell the pictures of two clips apart without reading them.
    """
    sizes: list[int] = []
    for folder in folders:
        try:
            sizes.append((folder / f"{name}.jpg").stat().st_size)
        except (OSError, ValueError):
            sizes.append(-1)  # `extract` says which one is missing
    return sha256_json([digest, sizes])
