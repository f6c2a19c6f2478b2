"""What a step is given by its location, brought to this machine: a path, s3://bucket/key, or an object of a DVC remote.

Names and contents are not trusted: an object of a DVC remote counts where its content has the MD5 that it is named by.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cavmae.dvc_objects import FOLDER_ENDING, DvcObject, listed, object_place
from cavmae.errors import InputError
from cavmae.storage import md5_file
from cavmae.stores import Absent, Store, is_name, is_remote, locate, open_store


@dataclass(frozen=True)
class StoredFile:
    """A file in a store; `md5` is what its content must have, where that is known."""

    store: Store
    name: str
    md5: str | None = None

    def fetch(self, path: Path, largest: int) -> None:
        """Copy the file to `path`; raises InputError where it is gone, larger than `largest` bytes, or not what it should be."""
        uri = self.store.uri(self.name)
        size = self.store.size(self.name)
        if size is None:
            raise InputError(f"{uri}: no such file")
        if size > largest:
            raise InputError(f"{uri}: holds {size} bytes, more than the {largest} that such a file may have")
        try:
            self.store.fetch(self.name, path)
        except Absent:
            raise InputError(f"{uri}: no such file") from None
        if self.md5 is not None and md5_file(path) != self.md5:
            path.unlink()
            raise InputError(f"{uri}: its content is not what its name says; push the data (`dvc push`) again")


class StoredFolder:
    """A folder on this machine, below `s3://bucket/prefix`, or tracked by DVC. Raises InputError where the location is none."""

    def __init__(self, location: str) -> None:
        self.location = location
        found = DvcObject.at(location)
        self._listed: Mapping[str, StoredFile] | None = None
        if found is None:
            self._store = open_store(location)
        elif not found.is_folder:
            raise InputError(f"{location}: is one file of a DVC remote; the object of a folder ends in {FOLDER_ENDING}")
        else:
            self._listed = _listed(found)

    def find(self, name: str) -> StoredFile | None:
        """Return a file of the folder by its path in it, None where it has none of that name."""
        if self._listed is not None:
            return self._listed.get(name)
        return StoredFile(self._store, name) if self._store.size(name) is not None else None


@contextmanager
def local_copy(location: str, largest: int) -> Iterator[Path]:
    """Yield a path at which a file can be read that may lie elsewhere: on S3, or as an object of a DVC remote.

    What had to be fetched is removed afterwards; errors then name the location. A path of this machine is yielded as it is.
    Raises InputError where the file is not there, larger than `largest` bytes, or not what its MD5 says.
    """
    found = DvcObject.at(location)
    if found is not None and found.is_folder:
        raise InputError(f"{location}: is a folder of a DVC remote; give the object of one file")
    if found is None and not is_remote(location):
        yield Path(location)
        return
    store, key = _parted(location)
    with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
        # under its own name, since the ending tells what it is; an object of DVC has its hash as a name
        path = Path(folder) / (found.md5 if found else key.rpartition("/")[2])
        StoredFile(store, key, path.name if found else None).fetch(path, largest)
        try:
            yield path
        except InputError as error:
            raise InputError(str(error).replace(str(path), location)) from None


def _listed(folder: DvcObject) -> dict[str, StoredFile]:
    """The files that the object of a DVC folder names, by their path in it."""
    files: dict[str, StoredFile] = {}
    for file in listed(folder, folder.location):
        if not is_name(file.path):
            raise InputError(f"{folder.location}, entry {file.number}: {file.path[:100]!r} is no name of a file in a folder")
        store, key = _parted(object_place(folder.root, file.md5))
        files[file.path] = StoredFile(store, key, file.md5)
    return files


def _parted(location: str) -> tuple[Store, str]:
    """The store that a file lies in, and its name there."""
    if is_remote(location):
        store, key = locate(location)
        if not is_name(key):
            raise InputError(f"{location}: is not the address of one object; give s3://bucket/key")
        return store, key
    path = Path(location)
    return open_store(str(path.parent)), path.name
