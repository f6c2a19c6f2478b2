"""A second place for the checkpoints of a run, which a retry on another machine continues from.

Beside each checkpoint goes `step-<number>.json`, written last: the files that belong to it, with their SHA-256. The files
themselves are named by their content as well, so nothing is ever overwritten that another process may be reading.
"""

import contextlib
import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cavmae.errors import InputError, StepFailed
from cavmae.storage import PARTIAL, sha256_file, to_json
from cavmae.stores import Absent, Store, is_remote, open_store

log = logging.getLogger(__name__)
VARIABLE = "CAVMAE_CHECKPOINTS"
FINISHED = "finished"  # holds the time at which the run ended, in seconds since 1970
_KEEP = 2
_MANIFEST = re.compile(r"step-([0-9]{9,})\.json")
_OBJECT = re.compile(r"(step-[0-9]{9,}|epoch-[0-9]{4,})-[0-9a-f]{16}\.(pt|safetensors)")
FileName = Annotated[str, Field(pattern=r"\A(step-[0-9]{9,}\.pt|epoch-[0-9]{4,}\.safetensors)\z")]
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    files: dict[FileName, Sha256]

    @property
    def objects(self) -> set[str]:
        return {_object(name, sha256) for name, sha256 in self.files.items()}


class Hashes:
    """The SHA-256 of files that are asked for with every checkpoint, and read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}

    def of(self, path: Path) -> str:
        """Return the hash of a file as it is now."""
        status = path.stat()
        key = path.name, status.st_size, status.st_mtime_ns, status.st_ino
        if key not in self._known:
            self._known[key] = sha256_file(path)
        return self._known[key]


def mirror_of(folder: Path, hashes: Hashes) -> "Mirror | None":
    """Return the mirror of a run's work folder `<step>/<key>` where CAVMAE_CHECKPOINTS says, None where it says nothing."""
    location = os.environ.get(VARIABLE)
    if not location:
        return None
    own = folder.resolve()
    place = f"{location.rstrip('/')}/{own.parent.name}/{own.name}"
    if not is_remote(location) and Path(place).resolve() == own:
        return None  # they lie there already
    try:
        return Mirror(open_store(place), hashes)
    except InputError as error:
        raise InputError(f"{VARIABLE}: {error}") from None


class Mirror:
    """The last two checkpoints in a store. They are copied by a thread: training waits for none but the last.

    A copy that fails costs a warning and is made up for by the next; that the store cannot be read at the start is an error,
    since a run that began anew would replace what it could not see.
    """

    def __init__(self, store: Store, hashes: Hashes | None = None) -> None:
        self.store = store
        self._hashes = hashes or Hashes()
        self.reading: Path | None = None  # the checkpoint that is being copied
        self._offered: Path | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def steps(self) -> list[int]:
        """Return the steps of which there are checkpoints, in order."""
        return sorted(int(found[1]) for name in self.store.names() if (found := _MANIFEST.fullmatch(name)))

    def fetch(self, step: int, folder: Path) -> bool:
        """Bring a checkpoint with all that belongs to it into the work folder; tell whether it was whole."""
        try:
            files = self._read(step).files
            own = f"step-{step:09d}.pt"
            if own not in files:
                raise ValueError(f"{own} does not belong to it")
            # the checkpoint itself comes last: a run that is killed before must not continue without the rest
            for name in sorted(files, key=lambda name: (name == own, name)):
                self._bring(name, files[name], folder)
        except (Absent, ValueError) as error:
            log.warning("the checkpoint of step %d at %s is not whole (%s)", step, self.store.location, _one_line(error))
            self._forget(step)
            return False
        log.info("the checkpoint of step %d comes from %s", step, self.store.location)
        return True

    def offer(self, checkpoint: Path) -> None:
        """Have a checkpoint copied, and the epochs' weights beside it; one that still waits for its turn is passed over."""
        with self._lock:
            self._offered = checkpoint
            if self._thread is None:
                # no daemon: however the run ends, the process stays until what was begun is copied
                self._thread = threading.Thread(target=self._work, name="checkpoints")
                self._thread.start()

    def wait(self) -> None:
        """Return when nothing is left to be copied."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def finish(self) -> None:
        """Keep the newest checkpoint alone, and note that the run is finished. What fails costs a warning."""
        self.wait()
        try:
            steps = self.steps()
            for step in steps[:-1]:
                self._delete(step, self._objects(steps[-1:]))
            if steps:
                self.store.write(FINISHED, f"{time.time():.0f}".encode())
        except (StepFailed, InputError) as error:
            log.warning("the run's checkpoints at %s could not be marked as finished: %s", self.store.location, error)

    def remove(self) -> None:
        """Remove everything. What cannot be removed costs a warning."""
        with self._lock:
            self._offered = None
        self.wait()
        try:
            # first what a run continues from, the last one first
            names = sorted((name for name in self.store.names() if _is_ours(name)), reverse=True)
            for name in sorted(names, key=lambda name: _MANIFEST.fullmatch(name) is None):
                self.store.delete(name)
        except (StepFailed, InputError) as error:
            log.warning("the run's checkpoints could not be removed, delete them by hand: %s", error)
        if not is_remote(self.store.location):
            with contextlib.suppress(OSError):
                Path(self.store.location).rmdir()

    def _work(self) -> None:
        while True:
            with self._lock:
                self.reading, self._offered = self._offered, None
                if self.reading is None:
                    self._thread = None
                    return
            try:
                self._copy(self.reading)
            except Exception as error:  # whatever it is, it must not end the training
                log.warning(
                    "%s could not be copied to %s (%s); training goes on, and the next one will be tried",
                    self.reading.name,
                    self.store.location,
                    _one_line(error),
                )

    def _copy(self, checkpoint: Path) -> None:
        epochs = sorted(checkpoint.parent.glob("epoch-*.safetensors"))
        files = {path.name: self._hashes.of(path) for path in epochs} | {checkpoint.name: sha256_file(checkpoint)}
        for path in (*epochs, checkpoint):
            name = _object(path.name, files[path.name])
            if self.store.size(name) != path.stat().st_size:
                self.store.put(name, path)
        manifest = _Manifest(files=files)
        self.store.write(f"{checkpoint.stem}.json", to_json(manifest.model_dump()).encode())
        steps = self.steps()
        kept = self._objects(steps[-_KEEP:])
        for step in steps[:-_KEEP]:
            self._delete(step, kept)

    def _delete(self, step: int, kept: set[str]) -> None:
        """Remove a checkpoint and what it names, and nothing else: another process may be about to name what else lies there."""
        gone = self._objects([step]) - kept
        self.store.delete(_manifest(step))
        for name in sorted(gone):
            self.store.delete(name)

    def _objects(self, steps: list[int]) -> set[str]:
        """What the checkpoints of some steps name, without those whose list cannot be read."""
        found: set[str] = set()
        for step in steps:
            with contextlib.suppress(Absent, ValueError):
                found |= self._read(step).objects
        return found

    def _read(self, step: int) -> _Manifest:
        """What belongs to a checkpoint; raises Absent or ValueError where that cannot be read."""
        return _Manifest.model_validate_json(self.store.read(_manifest(step)))

    def _bring(self, name: str, sha256: str, folder: Path) -> None:
        path = folder / name
        if path.is_file() and sha256_file(path) == sha256:
            return
        partial = folder / f"{name}.{os.getpid()}{PARTIAL}"
        try:
            self.store.fetch(_object(name, sha256), partial)
            if sha256_file(partial) != sha256:
                raise ValueError(f"{name} is damaged")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def _forget(self, step: int) -> None:
        with contextlib.suppress(StepFailed, InputError):  # one that stays is passed over the next time as well
            self.store.delete(_manifest(step))


def _manifest(step: int) -> str:
    return f"step-{step:09d}.json"


def _object(name: str, sha256: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}-{sha256[:16]}.{ending}"


def _is_ours(name: str) -> bool:
    return name == FINISHED or bool(_MANIFEST.fullmatch(name) or _OBJECT.fullmatch(name))


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"its list of files: {error.errors()[0]['msg']}"
    return (str(error).splitlines() or [type(error).__name__])[0]
