"""A registry on S3: versions/<version>/, history/<number>.json and champion.json, without a lock.

Only what is written on a condition decides: the manifest that makes a version whole, the entry with the next number, the pointer.
"""

import hashlib
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from cavmae.errors import InputError
from cavmae.locking import holding
from cavmae.models.files import CONFIG, LINEAGE, WEIGHTS
from cavmae.models.registry import Champion, Entry, Registry, Sha256, Version, version_of
from cavmae.storage import parse_json, replace_folder, sha256_file, sha256_json, to_json, work_folder
from cavmae.stores import Absent, Store, ahead, is_name

log = logging.getLogger(__name__)
CHAMPION, HISTORY, VERSIONS, MANIFEST = "champion.json", "history", "versions", "manifest.json"
CONDITIONS = "conditions"  # an object that is written on conditions that do not hold: a service that does not know them would


def _plain(name: str) -> str:
    if "/" in name or not is_name(name):
        raise ValueError(f"{name[:100]!r} is no name of a file")
    return name


FileName = Annotated[str, AfterValidator(_plain)]


class Manifest(BaseModel):
    """manifest.json of a version, written last: its files with their SHA-256, and in which folder of the version they are.

    Two promotions of the same weights may bring different other files: each has a folder of its own, and one manifest wins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    folder: Version
    files: dict[FileName, Sha256]


class StoreRegistry(Registry):
    """Any machine may read and promote at any time: of two promotions that knew the same champion one wins."""

    patience_s = 5.0

    def __init__(self, store: Store) -> None:
        self.store = store

    def check(self) -> None:
        """Raise InputError where the place holds what no registry does, and where it cannot be read."""
        if self.store.size(CHAMPION) is not None:
            return
        for entry in self.store.entries():
            top = entry.name.partition("/")[0]
            if top not in (CHAMPION, HISTORY, VERSIONS, CONDITIONS, ""):
                raise InputError(f"{self.store.location}: is no registry, it holds {top[:100]!r}; give a prefix of its own")

    def read_champion(self) -> Champion | None:
        """Return what champion.json says; raises InputError where it is damaged, or missing though the history tells of one."""
        found = self._pointer()
        if found is None:
            told = [entry.to_version for entry in self.history() if entry.moved]
            found = self._pointer() if told else None  # the first promotion of all may have come between
            if told and found is None:
                raise InputError(
                    f"{self.store.uri(CHAMPION)}: is missing, though {HISTORY}/ tells that {told[-1]} was promoted; restore it"
                )
        if found is None:
            return None
        champion = found[0]
        if self.store.size(_manifest(champion.version)) is None:
            place = self.store.uri(f"{VERSIONS}/{champion.version}")
            raise InputError(f"{self.store.uri(CHAMPION)}: points to {place}, where no version is; restore it")
        return champion

    def history(self) -> list[Entry]:
        """Return the entries by their numbers; raises InputError naming one that is damaged or missing."""
        names = sorted(entry.name for entry in self.store.entries(f"{HISTORY}/") if entry.name != f"{HISTORY}/")
        for number, name in enumerate(names):
            if name != _numbered(number):
                raise InputError(
                    f"{self.store.location}/{HISTORY}: holds {name[len(HISTORY) + 1 :][:100]!r} where {_numbered(number)} should "
                    "be; restore what is missing, and take away what is none"
                )
        return list(ahead(self._entry, names, self.store.threads))

    def model_folder(self, version: str) -> Path:
        """Bring the files of a version here, unless they are; raises InputError where one is not what was promoted."""
        manifest = self._manifest(version)
        if manifest is None:
            raise InputError(f"{self.store.uri(f'{VERSIONS}/{version}')}: no such version")
        # any place will do: what lies in it is held against the manifest
        folder = work_folder("registry", sha256_json(self.store.location)[:16], version)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with holding(folder.parent):
            if folder.is_dir() and _files(folder) == manifest.files:
                return folder
            with replace_folder(folder) as partial:
                for name, sha256 in manifest.files.items():
                    self._fetch(_file(version, manifest, name), partial / name, sha256)
        return folder

    def lineage(self, version: str) -> Any:
        """Read the object, without the weights beside it."""
        manifest = self._manifest(version)
        place = self.store.uri(f"{VERSIONS}/{version}/{LINEAGE}")
        if manifest is None or LINEAGE not in manifest.files:
            raise InputError(f"{place}: no such version")
        try:
            content = self.store.read(_file(version, manifest, LINEAGE))
        except Absent:
            raise InputError(f"{place}: is missing; restore it") from None
        if hashlib.sha256(content).hexdigest() != manifest.files[LINEAGE]:
            raise InputError(f"{place}: is not what was promoted; restore it")
        return parse_json(content.decode("utf-8", "replace"), place)

    def add_version(self, model: Path, weights: str, config: str) -> str:
        """Upload the files of a model folder, not its sub-folders: weights of single epochs are no part of a version."""
        version = version_of(weights)
        there = self._manifest(version) or self._upload(model, version)
        for name, wanted in ((WEIGHTS, weights), (CONFIG, config)):
            if there.files.get(name) != wanted:
                raise InputError(
                    f"{self.store.uri(_file(version, there, name))}: is not the one that was compared; "
                    "a version is never changed: where it is damaged, restore it"
                )
        for name in there.files:
            if self.store.size(_file(version, there, name)) is None:
                raise InputError(f"{self.store.uri(_file(version, there, name))}: is missing; restore it")
        return version

    @contextmanager
    def exclusive(self, wait_s: float) -> Iterator[None]:
        """Let everybody in, there is no lock; raises InputError where the service does not keep to the condition of a write."""
        self.check()
        attempts = [self.store.write_if(CONDITIONS, uuid.uuid4().bytes, tag) for tag in (None, None, "0" * 32)]
        if attempts[1] or attempts[2]:
            raise InputError(
                f"{self.store.location}: the service does not keep to the condition of a write (If-None-Match, If-Match), "
                "without which two promotions at once could both win; use another service, or a folder"
            )
        yield

    def point(self, champion: Champion, expected: Champion | None) -> bool:
        """Write champion.json on condition that it is still the expected one."""
        found = self._pointer()
        if (found[0] if found else None) != expected:
            return False
        return self.store.write_if(CHAMPION, to_json(champion.model_dump()).encode(), found[1] if found else None)

    def append(self, entry: Entry, behind: int) -> bool:
        """Write the entry with the next number on condition that there is none."""
        return self.store.write_if(_numbered(behind), entry.model_dump_json().encode() + b"\n", None)

    def _upload(self, model: Path, version: str) -> Manifest:
        files = _files(model)
        if LINEAGE not in files:
            raise InputError(f"{model}: not a model folder, {LINEAGE} is missing")
        manifest = Manifest(folder=sha256_json(files)[:16], files=files)
        for name in files:
            self.store.put(_file(version, manifest, name), model / name)
        if _files(model) != files or version_of(files[WEIGHTS]) != version:
            raise InputError(f"{model} changed while it was copied; run `cavmae compare` again")
        if self.store.write_if(_manifest(version), to_json(manifest.model_dump()).encode(), None):
            return manifest
        there = self._manifest(version)
        if there is None:
            raise InputError(f"{self.store.uri(_manifest(version))}: was taken away; do not clear a registry that is in use")
        if there.folder != manifest.folder:  # no manifest names these, nor ever will
            for name in files:
                self.store.delete(_file(version, manifest, name))
        return there

    def _pointer(self) -> tuple[Champion, str] | None:
        """The pointer and the tag of its object."""
        tagged = self.store.read_tagged(CHAMPION)
        if tagged is None:
            return None
        try:
            champion = Champion.model_validate_json(tagged[0])
        except ValidationError as error:
            raise InputError(
                f"{self.store.uri(CHAMPION)}: is no pointer to a champion ({error.errors()[0]['msg']}); restore it"
            ) from None
        if champion.version != version_of(champion.sha256):
            raise InputError(f"{self.store.uri(CHAMPION)}: version {champion.version} does not fit its sha256; restore it")
        return champion, tagged[1]

    def _entry(self, name: str) -> Entry:
        try:
            return Entry.model_validate_json(self.store.read(name))
        except ValidationError as error:
            raise InputError(
                f"{self.store.uri(name)}: is no entry of a registry ({error.errors()[0]['msg']}); restore it"
            ) from None

    def _manifest(self, version: str) -> Manifest | None:
        tagged = self.store.read_tagged(_manifest(version))
        if tagged is None:
            return None
        try:
            return Manifest.model_validate_json(tagged[0])
        except ValidationError as error:
            problem = f"does not say what a version holds ({error.errors()[0]['msg']})"
            raise InputError(f"{self.store.uri(_manifest(version))}: {problem}; restore it") from None

    def _fetch(self, name: str, path: Path, sha256: str) -> None:
        try:
            self.store.fetch(name, path)
        except Absent:
            raise InputError(f"{self.store.uri(name)}: is missing; restore it") from None
        if sha256_file(path) != sha256:
            raise InputError(f"{self.store.uri(name)}: is not what was promoted; restore it")


def _manifest(version: str) -> str:
    return f"{VERSIONS}/{version}/{MANIFEST}"


def _file(version: str, manifest: Manifest, name: str) -> str:
    return f"{VERSIONS}/{version}/{manifest.folder}/{name}"


def _numbered(behind: int) -> str:
    """The name of the entry that has so many before it."""
    return f"{HISTORY}/{behind + 1:09d}.json"


def _files(folder: Path) -> dict[str, str]:
    """The SHA-256 of the files directly in a folder."""
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
