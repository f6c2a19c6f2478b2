"""A store in a folder of this machine, or of a volume that several machines share."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cavmae.errors import InputError, StepFailed
from cavmae.storage import PARTIAL, write_atomic
from cavmae.stores import Absent, Entry, Store, check_name


class FolderStore(Store):
    """A store in a folder of this machine."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.root = Path(location)

    def entry(self, name: str) -> Entry | None:
        """Look at the file."""
        path = self._path(name)
        with _explained(path):
            return self._seen(name) if path.is_file() else None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Walk the folder; links to folders are not followed, and what a killed writer left is passed over."""
        for parent, _, files in os.walk(self.root, onerror=_tell_unless_absent):
            inside = Path(parent).relative_to(self.root)
            for name in ((inside / file).as_posix() for file in files if not file.endswith(PARTIAL)):
                if name.startswith(prefix):
                    with _explained(self.root / name):
                        seen = self._seen(name) if (self.root / name).is_file() else None
                    if seen is not None:
                        yield seen

    def read(self, name: str) -> bytes:
        """Read the file."""
        path = self._path(name)
        with _explained(path):
            return path.read_bytes()

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """Read the file; the tag is the hash of its content."""
        try:
            content = self.read(name)
        except Absent:
            return None
        return content, _tag(content)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Read a part of the file."""
        path = self._path(name)
        with _explained(path), path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def fetch(self, name: str, path: Path) -> None:
        """Copy the file out."""
        source = self._path(name)
        with _explained(source), source.open("rb") as file, write_atomic(path) as partial, partial.open("wb") as copy:
            shutil.copyfileobj(file, copy)

    def put(self, name: str, path: Path) -> None:
        """Copy a file in."""
        target = self._path(name)
        with path.open("rb") as file, _explained(target), write_atomic(target) as partial, partial.open("wb") as copy:
            shutil.copyfileobj(file, copy)

    def write(self, name: str, content: bytes) -> None:
        """Write the file."""
        target = self._path(name)
        with _explained(target), write_atomic(target) as partial:
            partial.write_bytes(content)

    def write_if(self, name: str, content: bytes, expected: str | None) -> bool:
        """Compare and write while no other process that asks does."""
        check_name(name, self.location)
        with self._alone():
            there = self.read_tagged(name)
            if (there[1] if there else None) != expected:
                return False
            self.write(name, content)
            return True

    def delete(self, name: str) -> None:
        """Remove the file."""
        path = self._path(name)
        with _explained(path):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.root / check_name(name, self.location)

    def _seen(self, name: str) -> Entry:
        status = (self.root / name).stat()
        return Entry(name, status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, which ends with the process."""
        with _explained(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tell_unless_absent(error: OSError) -> None:
    """What cannot be listed must not look like an empty folder; one that is not there is one."""
    if not isinstance(error, FileNotFoundError):
        with _explained(Path(error.filename)):
            raise error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Absent(f"{path}: no such file") from None
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise InputError(f"{path}: {error.strerror}; name another folder") from None
    except OSError as error:
        raise StepFailed(f"{path}: {error.strerror or error}") from None
