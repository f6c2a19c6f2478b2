"""The lists of every version of a data set whose shards lie in a store: kept beside them, for those who ask about a clip later.

A pod's data set is gone with its run, and a model's lineage names only its hash.
"""

from collections.abc import Iterator
from pathlib import Path

from cavmae.dataset.versions import CLIPS_FILE, QUARANTINE_FILE
from cavmae.errors import StepFailed
from cavmae.storage import sha256_file
from cavmae.stores import Store

_VERSIONS = "versions/"


def keep_lists(store: Store, folder: Path) -> None:
    """Put the tables of clips and quarantine that lie in `folder` into a store, under the SHA-256 of the first, unless there."""
    name = f"{_VERSIONS}{sha256_file(folder / CLIPS_FILE)}"
    if store.size(f"{name}/{CLIPS_FILE}") is None:
        store.put(f"{name}/{QUARANTINE_FILE}", folder / QUARANTINE_FILE)
        store.put(f"{name}/{CLIPS_FILE}", folder / CLIPS_FILE)  # last: it says that the version is there


def kept_versions(store: Store) -> Iterator[str]:
    """Yield the SHA-256 of the list of clips of every version that is kept."""
    for name in store.names(_VERSIONS):
        sha256, _, file = name.removeprefix(_VERSIONS).partition("/")
        if file == CLIPS_FILE:
            yield sha256


def fetch_lists(store: Store, sha256: str, folder: Path) -> None:
    """Bring the tables of a version; raises StepFailed where its list of clips is not what its name says."""
    name = f"{_VERSIONS}{sha256}"
    store.fetch(f"{name}/{CLIPS_FILE}", folder / CLIPS_FILE)
    if sha256_file(folder / CLIPS_FILE) != sha256:
        raise StepFailed(f"{store.uri(f'{name}/{CLIPS_FILE}')}: its SHA-256 is not {sha256[:12]}…, as its folder says")
    if store.size(f"{name}/{QUARANTINE_FILE}") is not None:
        store.fetch(f"{name}/{QUARANTINE_FILE}", folder / QUARANTINE_FILE)
