"""A folder of shards that the processes of a machine share: never more than it may hold, each shard whole or not there."""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from cavmae.dataset.tar import Shard
from cavmae.locking import holding, try_lock
from cavmae.storage import PARTIAL

_UNUSED_S = 3600.0  # a shard that no process has asked for so long belongs to none that runs
_RENEW_NS = 600 * 10**9  # well below that
_TAR, _RESERVED = ".tar", ".reserved"
_NAME = re.compile(r"(.+-[0-9a-f]{16}\.tar)(\.reserved|\.[0-9]+\.partial)?")


class CacheFolder:
    """At most `limit` bytes of shards in `path`. Raises OSError where the folder cannot be used."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit

    def place(self, shard: Shard) -> Path:
        """Where a shard lies, or would: named by where it comes from and what it holds."""
        digest = hashlib.sha256(f"{shard.store.uri(shard.name)}\n{shard.sha256}".encode()).hexdigest()
        return self.path / f"{Path(shard.name).stem}-{digest[:16]}{_TAR}"

    def holds(self, shard: Shard) -> bool:
        """Tell whether a shard is there, whole."""
        with suppress(FileNotFoundError):
            status = self.place(shard).stat(follow_symlinks=False)
            return S_ISREG(status.st_mode) and status.st_size == shard.bytes
        return False

    def is_blocked(self, shard: Shard) -> bool:
        """Tell whether something else than a file, which stays, has the name of a shard."""
        with suppress(FileNotFoundError):
            return not S_ISREG(self.place(shard).stat(follow_symlinks=False).st_mode)
        return False

    def is_coming(self, shard: Shard) -> bool:
        """Tell whether a process has taken room for a shard, to fetch it."""
        with suppress(FileNotFoundError):
            return _reserved(self.place(shard)).stat().st_size > 0
        return False

    def make_room(self, size: int, handle: int, in_use: Collection[str], needed: Mapping[str, int]) -> bool:
        """Give the reservation `handle` its room of `size` bytes; tell whether there is so much.

        What nobody uses is removed for it: first what this epoch does not need, then what it needs last (`needed`: file name to
        number of batch).
        """
        with holding(self.path):
            taken, files = 0, []
            for name, found in self._own().items():
                tar = found.get(_TAR)
                held = tar.st_size if tar is not None else 0
                if _RESERVED in found and not _remove_if_unlocked(self.path / f"{name}{_RESERVED}"):
                    # on its way: what it may grow to, or what has just got its name
                    taken += max(held, *(status.st_size for status in found.values()))
                    continue
                self._remove_leftovers(name)
                taken += held
                if tar is not None and tar.st_mtime < time.time() - _UNUSED_S and name not in in_use:
                    files.append((-needed.get(name, sys.maxsize), tar.st_mtime, held, self.path / name))
            free = shutil.disk_usage(self.path).free
            for _, _, held, path in sorted(files):
                if taken + size <= self.limit and free > 2 * size:
                    break
                path.unlink(missing_ok=True)
                taken, free = taken - held, free + held
            if taken + size > self.limit or free <= 2 * size:
                return False
            os.ftruncate(handle, size)
            return True

    @contextmanager
    def reservation(self, place: Path) -> Iterator[int | None]:
        """Hold the file that says that a shard is on its way, None where another process does; its size is the room it takes.

        The lock ends with the process: what a killed one leaves behind counts for nothing.
        """
        reserved = _reserved(place)
        handle = os.open(reserved, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(handle) or not os.fstat(handle).st_nlink:  # whoever held it may just have ended
                yield None
                return
            os.ftruncate(handle, 0)
            self._remove_leftovers(place.name)
            try:
                yield handle
            finally:
                with holding(self.path):  # who counts sees the reservation or the shard
                    reserved.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def _own(self) -> dict[str, dict[str, os.stat_result]]:
        """The files here that are the cache's, by name of shard and by kind: `.tar`, `.reserved`, `.<process>.partial`."""
        found: dict[str, dict[str, os.stat_result]] = {}
        with os.scandir(self.path) as items:
            for item in items:
                name = _NAME.fullmatch(item.name)
                with suppress(FileNotFoundError):
                    if name is not None and S_ISREG((status := item.stat(follow_symlinks=False)).st_mode):
                        found.setdefault(name[1], {})[name[2] or _TAR] = status
        return found

    def _remove_leftovers(self, name: str) -> None:
        """Remove what killed processes were writing; whoever calls knows that none is writing it now."""
        for kind in self._own().get(name, {}):
            if kind.endswith(PARTIAL):
                (self.path / f"{name}{kind}").unlink(missing_ok=True)


class Mark:
    """What the time of a shard's file says: when one of the processes that use it last said so; 0, that none does.

    Raises OSError where that cannot be written down.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._set, self._found = place, 0, 0

    def renew(self) -> None:
        """Say that the shard is in use, where that is not said or was long ago; tells nothing of whether it is there."""
        now = time.time_ns()
        if now - self._set < _RENEW_NS:
            return
        with suppress(FileNotFoundError):
            os.utime(self._place, ns=(now, now))
            self._set, self._found = now, self._place.stat().st_mtime_ns  # which may be rounded

    def free(self) -> None:
        """Say that the shard is not needed any more, unless another process has said since that it uses it."""
        with suppress(FileNotFoundError):
            if self._set and self._place.stat().st_mtime_ns == self._found:
                os.utime(self._place, ns=(0, 0))
        self._set = 0


def _reserved(place: Path) -> Path:
    return place.with_name(place.name + _RESERVED)


def _remove_if_unlocked(reserved: Path) -> bool:
    try:
        handle = os.open(reserved, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        if try_lock(handle):
            reserved.unlink(missing_ok=True)
            return True
        return False
    finally:
        os.close(handle)
