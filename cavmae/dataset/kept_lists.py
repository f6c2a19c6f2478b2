"""The lists of every version of a data set whose shards lie in a store: kept beside them, for those who ask about a clip later.

A pod's data set is gone with its run, and a model's lineage names only its hash.
"""

from pathlib import Path

from cavmae.dataset.versions import CLIPS_FILE, QUARANTINE_FILE
from cavmae.errors import StepFailed
from cavmae.storage import sha256_file
from cavmae.stores import Store

_VERSIONS = "versions/"
_BEFORE, _AFTER = "quarantine-", ".parquet"


def keep_lists(store: Store, folder: Path) -> None:
    """Put the tables of clips and quarantine that lie in `folder` into a store, by the SHA-256 of both, unless they are there."""
    version = sha256_file(folder / CLIPS_FILE)
    quarantine = _quarantine(version, sha256_file(folder / QUARANTINE_FILE))
    # that of the clips is last: it says that the version is there
    for name, path in ((quarantine, folder / QUARANTINE_FILE), (_clips(version), folder / CLIPS_FILE)):
        if store.size(name) is None:
            store.put(name, path)


def kept_versions(store: Store) -> dict[str, list[str]]:
    """Return every version that is kept, by the SHA-256 of its clips, and those of its quarantines.

    What was rejected may differ where what was accepted does not.
    """
    whole: set[str] = set()
    quarantines: dict[str, list[str]] = {}
    for name in store.names(_VERSIONS):
        version, _, file = name.removeprefix(_VERSIONS).partition("/")
        if file == CLIPS_FILE:
            whole.add(version)
        elif file.startswith(_BEFORE):
            quarantines.setdefault(version, []).append(file.removeprefix(_BEFORE).removesuffix(_AFTER))
    return {version: quarantines.get(version, []) for version in sorted(whole)}


def fetch_clips(store: Store, version: str, folder: Path) -> Path:
    """Bring the clips of a version into a folder; raises StepFailed where they are not what their name says."""
    return _fetch(store, _clips(version), version, folder / CLIPS_FILE)


def fetch_quarantine(store: Store, version: str, sha256: str, folder: Path) -> Path:
    """Bring a quarantine of a version into a folder; raises StepFailed where it is not what its name says."""
    return _fetch(store, _quarantine(version, sha256), sha256, folder / QUARANTINE_FILE)


def _fetch(store: Store, name: str, sha256: str, path: Path) -> Path:
    store.fetch(name, path)
    if sha256_file(path) != sha256:
        raise StepFailed(f"{store.uri(name)}: its SHA-256 is not {sha256[:12]}…, as its name says")
    return path


def _clips(version: str) -> str:
    return f"{_VERSIONS}{version}/{CLIPS_FILE}"


def _quarantine(version: str, sha256: str) -> str:
    return f"{_VERSIONS}{version}/{_BEFORE}{sha256}{_AFTER}"
