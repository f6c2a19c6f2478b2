"""A registry in a folder: versions/<version>/, history.jsonl and champion.json."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cavmae.errors import InputError, StepFailed
from cavmae.locking import try_lock
from cavmae.models.files import CONFIG, LINEAGE, WEIGHTS, model_fingerprint
from cavmae.models.registry import Champion, Entry, Registry, version_of
from cavmae.storage import PARTIAL, flush_file, read_json, remove_leftovers, replace_folder, write_json

CHAMPION, HISTORY, VERSIONS, LOCK = "champion.json", "history.jsonl", "versions", ".lock"
_OWN = re.compile(r"versions|history\.jsonl|champion\.json(\.[0-9]+\.partial)?|\.lock|\.gitignore|\.gitkeep|\.gitattributes")
_POLL_S = 0.05


class FolderRegistry(Registry):
    """Reads at any time; writes hold a lock on `.lock`, which the system lets go of when a process dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Raise InputError for symbolic links, and for a folder that holds what no registry does."""
        for path in (self.folder, *(self.folder / name for name in (CHAMPION, HISTORY, VERSIONS, LOCK))):
            if path.is_symlink():
                raise InputError(f"{path}: is a symbolic link; a registry is a folder of its own, name that itself")
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: is no folder; give one for the registry")
        foreign = sorted(path.name for path in self.folder.iterdir() if not _OWN.fullmatch(path.name))
        if foreign:
            raise InputError(f"{self.folder}: is no registry, it holds {foreign[0]!r}; give an empty folder or a new one")

    def read_champion(self) -> Champion | None:
        """Return what champion.json says; raises InputError where it is damaged, or missing though the history tells of one."""
        path = self.folder / CHAMPION
        if not path.is_file():
            lost = [entry.to_version for entry in self.history() if entry.moved]
            if lost:
                raise InputError(f"{path}: is missing, though {HISTORY} tells that {lost[-1]} was promoted; restore the file")
            return None
        try:
            champion = Champion.model_validate(read_json(path))
        except ValidationError as error:
            raise InputError(f"{path}: is no pointer to a champion ({error.errors()[0]['msg']}); restore the file") from None
        if champion.version != version_of(champion.sha256):
            raise InputError(f"{path}: version {champion.version} does not fit its sha256; restore the file")
        folder = self.model_folder(champion.version)
        if folder.is_symlink() or not folder.is_dir():
            raise InputError(f"{path}: points to {folder}, where no version is; restore it")
        return champion

    def history(self) -> list[Entry]:
        """Return the entries of history.jsonl, the oldest first; raises InputError naming a damaged line."""
        path = self.folder / HISTORY
        if not path.is_file():
            return []
        entries = []
        # what stands behind the last line break was never written to its end
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                entries.append(Entry.model_validate_json(line))
            except ValidationError as error:
                raise InputError(
                    f"{path}, line {number}: is no entry of a registry ({error.errors()[0]['msg']}); restore the file"
                ) from None
        return entries

    def model_folder(self, version: str) -> Path:
        """Return the folder of a version."""
        return self.folder / VERSIONS / version

    def lineage(self, version: str) -> Any:
        """Read the file."""
        return read_json(self.model_folder(version) / LINEAGE)

    def add_version(self, model: Path, weights: str, config: str) -> str:
        """Copy the files of a model folder, not its sub-folders: weights of single epochs are no part of a version."""
        version = version_of(weights)
        folder = self.model_folder(version)
        if folder.is_symlink() or folder.exists():
            _check_version(folder, weights, config, "a version is never changed: where it is damaged, restore it")
            return version
        names = sorted(path.name for path in model.iterdir() if path.is_file())
        if LINEAGE not in names:
            raise InputError(f"{model}: not a model folder, {LINEAGE} is missing")
        with replace_folder(folder) as partial:
            for name in names:
                shutil.copyfile(model / name, partial / name)
                flush_file(partial / name)
            _check_version(partial, weights, config, f"{model} changed while it was copied; run `cavmae compare` again")
            for name in names:
                (partial / name).chmod(0o444)
            flush_file(partial)
        flush_file(self.folder / VERSIONS)
        return version

    @contextmanager
    def exclusive(self, wait_s: float) -> Iterator[None]:
        """Hold the lock; first clear away what a killed promotion left. Raises StepFailed after `wait_s` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.check()
        lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            deadline = time.monotonic() + wait_s
            while not try_lock(lock):
                if time.monotonic() >= deadline:
                    raise StepFailed(f"{self.folder}: another promotion is at work for more than {wait_s:g} s; try again later")
                time.sleep(_POLL_S)
            self._clear()
            yield
        finally:
            os.close(lock)

    def point(self, champion: Champion, expected: Champion | None) -> bool:
        """Replace champion.json, where it is the expected one."""
        if self.read_champion() != expected:
            return False
        write_json(self.folder / CHAMPION, champion.model_dump())
        flush_file(self.folder)
        return True

    def append(self, entry: Entry, behind: int) -> bool:
        """Add a line to history.jsonl, on the disk before this returns; the lock keeps others from adding one before it."""
        if len(self.history()) != behind:
            return False
        line = entry.model_dump_json().encode() + b"\n"
        file = os.open(self.folder / HISTORY, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            while line:
                line = line[os.write(file, line) :]
            os.fsync(file)
        finally:
            os.close(file)
        return True

    def _clear(self) -> None:
        """Remove what a killed promotion left: files half written, and the start of a line."""
        remove_leftovers(self.folder)
        for path in (self.folder / VERSIONS).glob(f"*{PARTIAL}"):
            shutil.rmtree(path)
        history = self.folder / HISTORY
        if history.is_file():
            content = history.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(history, whole)


def _check_version(folder: Path, weights: str, config: str, advice: str) -> None:
    if folder.is_symlink():
        raise InputError(f"{folder}: is a symbolic link; {advice}")
    files = model_fingerprint(folder)
    for name, wanted in ((WEIGHTS, weights), (CONFIG, config)):
        if files[name] != wanted:
            raise InputError(f"{folder}: its {name} is not the one that was compared; {advice}")
