"""A store that is not on this machine, as far as readers can tell; it writes down what is read and can be told to fail."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cavmae.dataset.tar import Shard
from cavmae.errors import StepFailed
from cavmae.stores import Absent, Entry, Store


class Remote(Store):
    """Holds contents in memory. `on_read` hears the name before each read of a range; `reading` names those under way."""

    threads = 4

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__("s3://bucket/shards")
        self.contents = dict(contents)
        self.read_names: list[str] = []
        self.reading: list[str] = []
        self.on_read: Callable[[str], None] = lambda name: None
        self._lock = threading.Lock()

    def shards(self) -> list[Shard]:
        """All of them, with size and hash as a record has them."""
        return [Shard(self, name, len(held), hashlib.sha256(held).hexdigest()) for name, held in self.contents.items()]

    def entry(self, name: str) -> Entry | None:
        return Entry(name, len(self.contents[name]), "") if name in self.contents else None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        return (Entry(name, len(held), "") for name, held in self.contents.items() if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        return self.read_range(name, 0, 1 << 40)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        with self._lock:
            self.read_names.append(name)
            self.reading.append(name)
        try:
            self.on_read(name)
        finally:
            with self._lock:
                self.reading.remove(name)
        if name not in self.contents:
            raise Absent(f"{self.uri(name)}: no such object")
        return self.contents[name][offset : offset + length]

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        raise StepFailed("not for reading")

    def fetch(self, name: str, path: Path) -> None:
        raise StepFailed("not for reading")

    def put(self, name: str, path: Path) -> None:
        raise StepFailed("not for reading")

    def write(self, name: str, content: bytes) -> None:
        raise StepFailed("not for reading")

    def write_if(self, name: str, content: bytes, expected: str | None) -> bool:
        raise StepFailed("not for reading")

    def delete(self, name: str) -> None:
        del self.contents[name]
