"""Shards that lie on S3 are fetched whole, before they are needed, into a bounded folder of this machine."""

import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cavmae.dataset.cache_folder import CacheFolder, Mark
from cavmae.dataset.loader import end_soon
from cavmae.dataset.tar import Shard, missing
from cavmae.errors import InputError, StepFailed
from cavmae.storage import work_folder, write_atomic
from cavmae.stores import Absent

FOLDER, SIZE = "CAVMAE_CACHE", "CAVMAE_CACHE_GB"
_OWN = "cavmae-shards"  # where CAVMAE_CACHE says, other things may lie
_DEFAULT_GB = 20.0
_THREADS = 8  # that fetch side by side
_BLOCK = 8 << 20  # bytes that are asked for at a time; between two blocks a fetch can be stopped
_POLL_S = 0.2  # between two looks at what other processes do
_LOOKS = 10  # at a shard that another process keeps without fetching it

log = logging.getLogger(__name__)


class Need(NamedTuple):
    """A shard, and the numbers of the first and the last batch that need it."""

    shard: Shard
    first: int
    last: int


@dataclass(eq=False)
class _Entry:
    need: Need
    place: Path
    coming: bool = False  # this process or another has taken room for it and fetches it
    decided: bool = False  # it is here, or will not be fetched, or cannot be
    here: bool = False
    error: BaseException | None = None
    is_done: bool = False  # no batch needs it any more

    def __post_init__(self) -> None:
        self._mark = Mark(self.place)

    def renew(self) -> None:
        """Tell the other processes that this one uses the shard; where that cannot be, they may remove it."""
        with suppress(OSError):
            self._mark.renew()

    def arrived(self) -> None:
        """Say the same of a file that has just come."""
        self._mark = Mark(self.place)
        self.renew()

    def free(self) -> None:
        """Tell the other processes that this one has done with the shard."""
        self.is_done = True
        with suppress(OSError):
            self._mark.free()


class _Round:
    """What is fetched for the batches of one epoch, and by threads of its own, in the order of `entries`."""

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries = {entry.place.name: entry for entry in entries}
        self.ending = sorted(entries, key=lambda entry: -entry.need.last)  # what is needed longest first
        self.left = iter(entries)
        self.waiting: list[_Entry] = []  # what readers wait for
        self.turn = threading.Lock()
        self.released = 0  # shards that are not needed any more
        self.stopped = False


class ShardCache:
    """At most `limit` bytes of shards in `folder`, which several processes may share.

    What no batch needs any more makes room for what comes next; a shard for which there is no room is read from where it lies.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._folder = CacheFolder(folder, limit)
        self._round = _Round([])
        self._changed = threading.Condition()
        self._usable = True

    @classmethod
    def of_environment(cls) -> "ShardCache":
        """The cache that CAVMAE_CACHE and CAVMAE_CACHE_GB (default 20) describe.

        It has a folder of its own in CAVMAE_CACHE; by default that is `shards` in the work folder.
        """
        given = os.environ.get(SIZE, "").strip()
        try:
            limit = int((float(given) if given else _DEFAULT_GB) * 1e9)
        except (ValueError, OverflowError):
            limit = -1
        if limit < 0:
            raise InputError(f"{SIZE} is {given!r}; give a number of gigabytes, 0 for no cache")
        place = os.environ.get(FOLDER)
        return cls(Path(place, _OWN) if place else work_folder("shards"), limit)

    def path(self, shard: Shard, waits: bool = True) -> Path | None:
        """Where a shard can be read on this machine, None where it is to be read from its store.

        Waits for one that is on its way, unless told not to (`waits`), and raises what kept it from coming.
        """
        if shard.sha256 is None or not self.limit:
            return None
        place = self._folder.place(shard)
        with self._changed:
            current = self._round
            entry = current.entries.get(place.name)
            if entry is not None and waits and not entry.decided:
                current.waiting.append(entry)
                self._changed.notify_all()
                self._changed.wait_for(lambda: entry.decided or current.stopped)
                current.waiting.remove(entry)
            if entry is not None and entry.error is not None:
                raise entry.error
            if entry is not None and entry.here:
                entry.renew()
                return place
        try:
            return place if self._folder.holds(shard) else None  # of an epoch or a run before, or of another process
        except OSError:
            return None

    @contextmanager
    def expecting(self, needs: Sequence[Need]) -> Iterator[None]:
        """Fetch shards in that order, by threads that end with the context."""
        wanted = [need for need in needs if need.shard.sha256 is not None and (need.shard.bytes or 0) <= self.limit]
        if not wanted or not self._prepared():
            yield
            return
        self._round = current = _Round([_Entry(need, self._folder.place(need.shard)) for need in wanted])
        threads = [threading.Thread(target=self._work, args=(current,), daemon=True, name="shards") for _ in range(_THREADS)]
        try:
            for thread in threads:
                thread.start()
            yield
        finally:
            with self._changed:
                current.stopped = True
                for entry in current.entries.values():
                    if entry.decided:
                        entry.free()
                self._changed.notify_all()
            end_soon(threads)
            self._round = _Round([])

    def done(self, batch: int) -> None:
        """Say that all batches up to number `batch` have been read: what none of the others needs may go."""
        with self._changed:
            current = self._round
            while current.ending and current.ending[-1].need.last <= batch:
                entry = current.ending.pop()
                del current.entries[entry.place.name]
                current.released += 1
                entry.free()
                self._changed.notify_all()

    def _prepared(self) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._give_up(error)
        return self._usable

    def _give_up(self, error: OSError) -> None:
        if self._usable:
            why = error.strerror or error
            log.warning("%s: cannot be used as a cache of shards (%s); they are read from where they lie", self.folder, why)
        self._usable = False

    def _work(self, current: "_Round") -> None:
        while True:
            with ExitStack() as turn:
                # one thread at a time takes a shard and room for it, lest a later one takes the room of an earlier one
                turn.enter_context(current.turn)
                entry = next(current.left, None)
                if entry is None or current.stopped:
                    return
                try:
                    entry.here = self._usable and self._fetch(current, entry, turn)
                except OSError as error:
                    self._give_up(error)
                except BaseException as error:  # handed to whoever asks for the shard
                    entry.error = error
            with self._changed:
                entry.decided, entry.coming = True, False
                if entry.is_done or current.stopped:
                    entry.free()
                self._changed.notify_all()

    def _fetch(self, current: "_Round", entry: _Entry, turn: ExitStack) -> bool:
        """Tell whether the shard is here, and fetch it where there is room; of several processes one does.

        A reservation is held to take room and to fetch, never to wait: another process may want the same shard sooner.
        """
        shard = entry.need.shard
        if self._folder.is_blocked(shard):
            return False
        looks = 0  # in a row that found another process about to take room
        while not current.stopped:
            released = current.released
            if self._here(entry):
                return True
            with self._folder.reservation(entry.place) as handle:
                if handle is not None:
                    if self._here(entry):  # another process has just fetched it
                        return True
                    if self._take_room(current, entry, handle):
                        turn.close()
                        self._download(current, shard, entry.place)
                        entry.arrived()
                        return True
            elsewhere = handle is None and self._folder.is_coming(shard)
            looks = looks + 1 if handle is None and not elsewhere else 0
            if elsewhere:
                turn.close()
            if not self._wait(current, entry, released, elsewhere, may_give_up=handle is not None or looks > _LOOKS):
                return False
        return False

    def _here(self, entry: _Entry) -> bool:
        shard = entry.need.shard
        if not self._folder.holds(shard):
            return False
        entry.renew()
        return self._folder.holds(shard)  # another process may have made room before it could see that

    def _take_room(self, current: "_Round", entry: _Entry, handle: int) -> bool:
        with self._changed:
            in_use = {name for name, other in current.entries.items() if other.coming or other.here}
            needed = {name: other.need.first for name, other in current.entries.items()}
        found = self._folder.make_room(entry.need.shard.bytes or 0, handle, in_use, needed)
        with self._changed:
            entry.coming = found
        return found

    def _wait(self, current: "_Round", entry: _Entry, released: int, elsewhere: bool, may_give_up: bool) -> bool:
        """Wait until it is worth another attempt; False where readers, who make room, wait for what is not coming."""
        with self._changed:
            entry.coming = elsewhere
            if released != current.released:
                return True  # there may be room by now
            if may_give_up and any(not (other.coming or other.decided) for other in current.waiting):
                return False
            if not current.stopped:
                self._changed.wait(_POLL_S)
            return True

    def _download(self, current: "_Round", shard: Shard, place: Path) -> None:
        uri, size = shard.store.uri(shard.name), shard.bytes or 0
        digest = hashlib.sha256()
        try:
            with write_atomic(place) as partial, partial.open("wb") as file:
                for at in range(0, size, _BLOCK):
                    if current.stopped:
                        raise _Stopped
                    block = shard.store.read_range(shard.name, at, min(_BLOCK, size - at))
                    digest.update(block)
                    file.write(block)
                file.flush()
                if digest.hexdigest() != shard.sha256:
                    raise StepFailed(f"{uri}: is not what its record says; run `cavmae extract` again")
        except Absent:
            raise StepFailed(missing(uri)) from None


class _Stopped(Exception):
    """The batches that a shard was fetched for are not wanted any more."""
