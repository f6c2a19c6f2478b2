"""The data set that a line names: its lists, its shards, the videos that it was made of."""

import hashlib
from pathlib import Path

from cavmae.audit.findings import Audit
from cavmae.audit.line import Link
from cavmae.dataset.schema import CLIPS, read_rows
from cavmae.dataset.shelf import Shelf
from cavmae.errors import InputError, StepFailed
from cavmae.models.lineage import dataset_fingerprint
from cavmae.progress import Progress
from cavmae.storage import read_json, sha256_file
from cavmae.stores import Absent, Store, is_name, is_remote

_SHOWN = 20
_BLOCK = 8 << 20  # bytes; a shard on S3 is read by ranges, and never whole into memory


def check_data(audit: Audit, line: list[Link], dataset: Path, sources: bool) -> None:
    """Hold the data set in a folder against every one that the line names; with `sources` the videos as well."""
    versions: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for link in line:
        if link.lineage.dataset:
            versions.setdefault(tuple(sorted(link.lineage.dataset.items())), []).append(link.lineage.step)
    if not versions:
        audit.add("data", "data set", "claimed", "the lineage names none")
        return
    here = dataset_fingerprint(dataset) if dataset.is_dir() else {}
    for number, (named, steps) in enumerate(versions.items()):
        by = f"lineage of {', '.join(dict.fromkeys(steps))}"
        files = {name: sha256 for name, sha256 in named if is_name(name)}
        for name in dict(named).keys() - files.keys():
            audit.add("data", f"{dataset}, {name!r}", "broken", f"{by} names a file outside the folder")
        key = files.get("clips.parquet", "")[:12]
        if not here:
            audit.add("data", f"{dataset} ({key}…)", "claimed", f"{by} names it, and it is not here")
        elif number and here != files:
            audit.add("data", f"older data set {key}…", "claimed", f"{by} names it; `git checkout` and `dvc pull` bring it")
        else:
            sources = _check_lists(audit, dataset, here, files, by) and sources
    if here:
        _check_shards(audit, dataset)
        if sources and (dataset / "clips.parquet").is_file():
            _check_sources(audit, dataset)


def _check_lists(audit: Audit, dataset: Path, here: dict[str, str], files: dict[str, str], by: str) -> bool:
    """Compare the lists; tell whether that of the clips is the same: what the list of another version names says nothing."""
    same = True
    for name, sha256 in files.items():
        if name not in here:
            audit.add("data", str(dataset / name), "broken", f"is missing, {by} names it")
        elif not audit.compare("data", str(dataset / name), here[name], sha256, by, "differs"):
            same = same and name != "clips.parquet"
    return same


def _check_shards(audit: Audit, dataset: Path) -> None:
    try:
        shelf = Shelf.beside(dataset)
    except InputError as error:
        place, _, why = str(error).partition(": ")
        audit.add("data", place, "broken", why)
        return
    records = _records(dataset)
    if shelf is None or records is None:
        audit.add("data", f"{dataset}", "broken", "location.json or index.json is missing or damaged")
        return
    proved = 0
    with Progress("shards", len(records), unit="shard") as progress:
        for name, sha256 in records.items():
            place = f"{shelf.root}/{shelf.tar(name)}"
            try:
                found = _sha256(shelf.store, shelf.tar(name))
            except Absent:
                audit.add("data", place, "broken", "is missing, index.json names it")
            except InputError as error:
                audit.add("data", place, "broken", str(error))
            except StepFailed as error:  # S3 may be away; what is on this machine is there or damaged
                audit.add("data", place, "claimed" if is_remote(shelf.root) else "broken", f"cannot be read: {error}")
            else:
                if found == sha256:
                    proved += 1
                else:
                    audit.compare("data", place, found, sha256, "index.json")
            progress.advance()
    if proved:
        audit.add("data", f"{proved} of {len(records)} shards in {shelf.root}", "proved", "index.json")


def _sha256(store: Store, name: str) -> str:
    size = store.size(name)
    if size is None:
        raise Absent(f"{store.uri(name)}: no such file")
    digest = hashlib.sha256()
    for offset in range(0, size, _BLOCK):
        digest.update(store.read_range(name, offset, _BLOCK))
    return digest.hexdigest()


def _records(dataset: Path) -> dict[str, str] | None:
    """The SHA-256 of each shard by name."""
    try:
        return {str(row["name"]): str(row["sha256"]) for row in read_json(dataset / "index.json")["shards"]}
    except (InputError, KeyError, TypeError):
        return None


def _check_sources(audit: Audit, dataset: Path) -> None:
    proved, changed, away = 0, 0, 0
    wanted: dict[str, str] = {}
    try:
        for row in read_rows(dataset / "clips.parquet", CLIPS):
            if row["frames"] is None:  # those that came extracted have no file of their own
                wanted[row["object"] or row["path"]] = row["sha256"]
    except InputError as error:
        audit.add("sources", str(dataset / "clips.parquet"), "broken", str(error))
        return
    with Progress("videos", len(wanted), unit="file") as progress:
        for place, sha256 in wanted.items():
            path = Path(place)
            if is_remote(place) or not path.is_file():
                away += 1
            elif sha256_file(path) == sha256:
                proved += 1
            else:
                changed += 1
                if changed <= _SHOWN:
                    audit.add("sources", place, "differs", "its content is not what was ingested")
            progress.advance()
    if changed > _SHOWN:
        audit.add("sources", f"{changed - _SHOWN} more videos", "differs", "their content is not what was ingested")
    if proved:
        audit.add("sources", f"{proved} of {len(wanted)} videos", "proved", "clips.parquet")
    if away:
        audit.add("sources", f"{away} of {len(wanted)} videos", "claimed", "are not on this machine")
