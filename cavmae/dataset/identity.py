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
