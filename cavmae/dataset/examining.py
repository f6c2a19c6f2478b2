"""Looking into sources that lie in a store: what they are, their hashes and lengths; remembered between runs."""

import hashlib
import json
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cavmae.dataset.fetching import safe_ending
from cavmae.dataset.sources.stored import StoredFile
from cavmae.media.clip import MediaRejected
from cavmae.media.sniff import HEAD_BYTES, media_duration, sniff_head
from cavmae.progress import Progress
from cavmae.stores import Absent, ahead

_BLOCK = 8 << 20
_THREADS = 16  # that wait for S3 at once
_CHANGED = "The object changed while it was read; run ingest again."


class Refused(NamedTuple):
    """Why an input is no media: a word of the quarantine vocabulary and one sentence, empty where the source has its own."""

    reason: str
    detail: str


class Examination:
    """Looks into stored files, several at a time, and remembers in a file of lines what it found.

    What is remembered is found again by the content's etag and size, or by its MD5 where DVC gives it: a second run reads
    nothing of what has not changed. With `measure`, the length of the media is found too, for which a whole file has to be
    fetched.
    """

    def __init__(self, journal: Path, measure: bool) -> None:
        self._journal, self._measure = journal, measure
        self._known: dict[str, dict[str, Any]] = {}
        if journal.is_file():
            for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    key, found = json.loads(line)
                    self._known[key] = dict(found)
                except (ValueError, TypeError):
                    continue  # the line that a killed run was writing

    def look_into(self, files: Iterable[StoredFile], workers: int) -> dict[StoredFile, StoredFile | Refused]:
        """Return each file with what its content told, or why it is no media.

        Raises InputError or StepFailed where the store cannot be asked; what was found until then is remembered.
        """
        wanted = list(dict.fromkeys(files))
        if not wanted:
            return {}
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        results: dict[StoredFile, StoredFile | Refused] = {}
        # a file that is measured takes its size in temporary space
        threads = workers if self._measure else max(workers, _THREADS)
        with (
            self._journal.open("a", encoding="utf-8") as journal,
            Progress("hashing", len(wanted), unit="file") as progress,
        ):
            for file, (key, found) in zip(wanted, ahead(self._examined, wanted, threads), strict=True):
                results[file] = _result(file, found)
                if key is not None and key not in self._known:
                    self._known[key] = found
                    journal.write(json.dumps([key, found]) + "\n")
                    journal.flush()
                progress.advance()
        return results

    def _examined(self, file: StoredFile) -> tuple[str | None, dict[str, Any]]:
        """What is found of a file, with the key to remember it by; none where it may be otherwise at the next run."""
        if file.md5 is not None and (found := self._known.get(self._key(file))):
            return self._key(file), found
        there = file.looked_up()
        if there is None:
            return None, {"reason": "missing_file", "detail": ""}
        key = self._key(there)
        if found := self._known.get(key):
            return key, found
        try:
            found = self._read(there)
        except MediaRejected as rejection:
            found = {"reason": rejection.reason, "detail": rejection.detail}
            return (None if rejection.reason == "unreadable_file" else key), found
        except Absent:
            return None, {"reason": "unreadable_file", "detail": _CHANGED}
        return key, found

    def _key(self, file: StoredFile) -> str:
        return f"{file.key} {'measured' if self._measure else 'hashed'}"

    def _read(self, file: StoredFile) -> dict[str, Any]:
        """Read the content once from beginning to end."""
        store, name = file.opened()
        size = file.size or 0
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with ExitStack() as stack:
            copy, whole = None, None
            if self._measure:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cavmae-ingest-"))
                copy = Path(folder) / f"clip{safe_ending(file.shown)}"
                whole = stack.enter_context(copy.open("wb"))
            for at in range(0, max(size, 1), _BLOCK):
                block = store.read_range(name, at, min(_BLOCK, size - at))
                if len(block) != min(_BLOCK, size - at):
                    raise MediaRejected("unreadable_file", _CHANGED)
                if at == 0:
                    sniff_head(block[:HEAD_BYTES])
                sha256.update(block)
                md5.update(block)
                if whole is not None:
                    whole.write(block)
            if file.md5 not in (None, md5.hexdigest()):
                raise MediaRejected("unreadable_file", "The content is not what DVC stored under this hash; push it again.")
            if whole is not None:
                whole.flush()
            return {"sha256": sha256.hexdigest(), "bytes": size, "duration_s": _duration(copy) if copy else None}


def _duration(path: Path) -> float | None:
    try:
        return media_duration(path)
    except MediaRejected:
        return None  # one clip, which `extract` rejects with its reason


def _result(file: StoredFile, found: dict[str, Any]) -> StoredFile | Refused:
    if "reason" in found:
        return Refused(found["reason"], found["detail"])
    return replace(file, size=found["bytes"], sha256=found["sha256"], duration_s=found["duration_s"])
