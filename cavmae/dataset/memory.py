"""What `ingest` remembers between runs that share no folder: pods, machines. Ids, splits and shards only grow."""

from pathlib import Path

from cavmae.dataset.departed import DEPARTED
from cavmae.errors import InputError, StepFailed
from cavmae.storage import parse_json, sha256_file, sha256_json, to_json
from cavmae.stores import open_store

_FILES = ("labels.csv", "source.json", "clips.parquet")
_POINTER = "latest.json"
_JOURNALS = "journals"
_FORMAT = 1

Identity = dict[str, str | None]


class Memory:
    """The manifest of the last run on a source, in a folder or on S3.

    Every manifest lies under the hash of its content, and `latest.json` names the last: of two runs at once the second
    fails instead of forgetting what the first one placed.
    """

    def __init__(self, location: str, identity: Identity) -> None:
        self._store = open_store(location)
        self._identity = identity
        self._tag: str | None = None

    def recall(self, out: Path, journals: list[Path]) -> None:
        """Put the last manifest into `out`, in place of one that is there, and fetch those journals that are not there.

        Raises InputError where the memory is of another source.
        """
        for journal in journals:
            name = f"{_JOURNALS}/{journal.name}"
            if not journal.exists() and self._store.size(name) is not None:
                self._store.fetch(name, journal)
        found = self._store.read_tagged(_POINTER)
        if found is None:
            return
        content, self._tag = found
        uri = self._store.uri(_POINTER)
        pointer = parse_json(content.decode("utf-8", "replace"), uri)
        if not isinstance(pointer, dict) or not isinstance(pointer.get("manifest"), str):
            raise InputError(f"{uri}: is no memory of `cavmae ingest`; name another place with memory")
        if pointer.get("source") != self._identity:
            raise InputError(f"{self._store.location}: remembers another source, {pointer.get('source')}; name another memory")
        for name in _FILES:
            self._store.fetch(f"{pointer['manifest']}/{name}", out / name)
        (out / DEPARTED).unlink(missing_ok=True)
        if self._store.size(f"{pointer['manifest']}/{DEPARTED}") is not None:
            self._store.fetch(f"{pointer['manifest']}/{DEPARTED}", out / DEPARTED)

    def keep(self, out: Path, journals: list[Path]) -> None:
        """Remember the manifest in `out`; raises StepFailed where another run has done so since `recall`."""
        for journal in journals:
            if journal.exists():
                self._store.put(f"{_JOURNALS}/{journal.name}", journal)
        names = [name for name in (*_FILES, DEPARTED) if (out / name).is_file()]
        folder = sha256_json([sha256_file(out / name) for name in names])[:16]
        for name in names:
            self._store.put(f"{folder}/{name}", out / name)
        pointer = to_json({"format": _FORMAT, "source": self._identity, "manifest": folder}).encode()
        if not self._store.write_if(_POINTER, pointer, self._tag):
            raise StepFailed(f"{self._store.uri(_POINTER)}: another run of ingest wrote it meanwhile; run the command again")
