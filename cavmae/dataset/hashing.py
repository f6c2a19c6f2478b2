"""Hashes of source files, several at a time, remembered between runs."""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cavmae.progress import Progress
from cavmae.storage import sha256_file


class HashJournal:
    """Remembers `path, size, time of change -> sha256` in a file of lines, so that a stopped run continues where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    key, digest = json.loads(line)
                except (ValueError, TypeError):
                    continue  # the line that a killed run was writing
                self._known[key] = digest

    def hash_files(self, paths: Iterable[Path], threads: int) -> dict[Path, str | OSError]:
        """Return the SHA-256 of each file, or the error that reading it gave."""
        wanted = list(dict.fromkeys(paths))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        results: dict[Path, str | OSError] = {}
        with (
            self._path.open("a", encoding="utf-8") as journal,
            ThreadPoolExecutor(threads) as pool,
            Progress("hashing", len(wanted), unit="file") as progress,
        ):
            for path, (key, digest) in zip(wanted, pool.map(self._hash, wanted), strict=True):
                results[path] = digest
                if isinstance(digest, str) and key not in self._known:
                    self._known[key] = digest
                    journal.write(json.dumps([key, digest]) + "\n")
                    journal.flush()
                progress.advance()
        return results

    def _hash(self, path: Path) -> tuple[str, str | OSError]:
        try:
            status = path.stat()
            key = f"{os.fsencode(path).hex()} {status.st_size} {status.st_mtime_ns}"
            return key, self._known.get(key) or sha256_file(path)
        except OSError as error:
            return "", error
