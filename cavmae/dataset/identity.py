"""Names that are safe as keys of a tar shard, and stay the same when data is added."""

import hashlib
import re

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 60


def video_id(name: str, where: str, taken: set[str]) -> str:
    """Return a unique id of letters, digits, `_` and `-` for the clip that its source calls `name`.

    A clean name that is not taken is kept; any other gets a hash of `where` (its path and window) behind it. The id is
    added to `taken`.
    """
    clean = _UNSAFE.sub("_", name)[:_LONGEST].strip("_") or "clip"
    candidate = clean
    if clean != name or clean in taken or clean.startswith("-"):
        digest = hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()
        candidate = f"{clean.lstrip('-') or 'clip'}-{digest[:8]}"
        if candidate in taken:
            candidate = f"{clean.lstrip('-') or 'clip'}-{digest[:24]}"
    taken.add(candidate)
    return candidate
