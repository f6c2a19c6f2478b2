"""Which versions of the data, and which models, a clip went into: what a request to delete it has to reach."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cavmae.audit.line import parse_line
from cavmae.dataset.kept_lists import fetch_lists, kept_versions
from cavmae.dataset.schema import CLIPS, QUARANTINE, Row, read_rows
from cavmae.dataset.shelf import Shelf
from cavmae.dataset.versions import CLIPS_FILE, QUARANTINE_FILE, locked_outputs, revisions, tracked_folder, version_folder
from cavmae.errors import InputError, StepFailed
from cavmae.models.files import LINEAGE
from cavmae.models.registries import open_registry
from cavmae.storage import read_json, sha256_file

_LARGEST_LINEAGE = 64 << 20  # bytes
_NAMES = ("video_id", "name", "path", "object", "group")


@dataclass
class Usage:
    """Where a clip was found. `unknown`: what could not be looked at, and why; a request is not answered before that is empty."""

    clip: str
    data: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[dict[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return vars(self)


def clip_usage(clip: str, dataset: Path, models: Path, registry: str | None, store: str | None = None) -> Usage:
    """Look for a clip, by id, name, path or group, in the data here and in every earlier version, and in models' lineages.

    Earlier versions are those that git has committed, and those whose lists are kept where their shards are: in `store`, or where
    the data here says. Models are those below `models`, those in the registry, and those that committed versions of dvc.lock
    name. A model used the clip where its line names a data set that has it.
    """
    usage, lists = Usage(clip), dict[str, bool]()
    if (dataset / CLIPS_FILE).is_file():
        _look(usage, lists, str(dataset), dataset, clip)
    seen: set[str] = set()
    committed: dict[str, str] = {}
    for commit, time in revisions():
        try:
            outputs = locked_outputs(commit)
        except InputError:
            continue  # there was no dvc.lock any more
        md5 = outputs.get(dataset.as_posix())
        if md5 is not None and md5 not in seen:
            seen.add(md5)
            where = f"commit {commit[:12]} of {time[:10]}"
            try:
                with version_folder(commit, dataset.as_posix()) as folder:
                    _look(usage, lists, where, folder, clip)
            except (InputError, StepFailed) as error:
                usage.unknown.append({"what": f"{dataset} at {where}", "why": str(error)})
        for path, value in outputs.items():
            if path.startswith(f"{models.name}/") and value.endswith(".dir"):
                committed.setdefault(value, f"{commit}\t{path}")
    _look_into_store(usage, lists, dataset, store)
    known: set[str] = set()
    for where, document in _lineages(usage, models, registry, committed):
        _judge(usage, lists, where, document, known)
    return usage


def _look(usage: Usage, lists: dict[str, bool], where: str, folder: Path, clip: str) -> None:
    """Look for the clip in a version of the data, and note by the list's hash whether it is there."""
    rows = [row for row in read_rows(folder / CLIPS_FILE, CLIPS) if _is(row, clip)]
    sha256 = sha256_file(folder / CLIPS_FILE)
    new = sha256 not in lists
    lists[sha256] = bool(rows)
    for row in rows if new else ():
        found = {"video_id": row["video_id"], "split": row["split"], "shard": row["shard"], "path": row["object"] or row["path"]}
        usage.data.append({"version": where, "clips_sha256": sha256, **found})
    if new and (folder / QUARANTINE_FILE).is_file():
        for row in read_rows(folder / QUARANTINE_FILE, QUARANTINE):
            if clip in (row["video_id"], row["path"]):
                found = {"video_id": row["video_id"], "path": row["path"], "quarantined": row["reason"]}
                usage.data.append({"version": where, "clips_sha256": sha256, **found})


def _look_into_store(usage: Usage, lists: dict[str, bool], dataset: Path, place: str | None) -> None:
    """Look into the lists that `validate` kept beside shards, as far as they are not known from elsewhere."""
    try:
        shelf = Shelf.beside(dataset) if place is None else Shelf(place, {})
        if shelf is None:
            return
        versions = list(kept_versions(shelf.store))
        if place is not None and not versions:
            raise InputError("keeps no lists of data sets; name the place that `extract.store` was when they were made")
    except (InputError, StepFailed) as error:
        usage.unknown.append({"what": place or str(dataset), "why": str(error)})
        return
    for sha256 in versions:
        if sha256 in lists:
            continue
        where = f"{shelf.root}, version {sha256[:12]}"
        try:
            with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
                fetch_lists(shelf.store, sha256, Path(folder))
                _look(usage, lists, where, Path(folder), usage.clip)
        except (InputError, StepFailed) as error:
            usage.unknown.append({"what": where, "why": str(error)})


def _is(row: Row, clip: str) -> bool:
    return any(row[name] == clip for name in _NAMES)


def _lineages(usage: Usage, models: Path, registry: str | None, committed: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every lineage that can be reached, and where it was found."""
    for path in sorted({*models.glob(f"*/{LINEAGE}"), *models.glob(f"*/*/{LINEAGE}")}):
        if "versions" not in path.parts:  # those of a registry are told of as such
            yield from _read(usage, str(path.parent), partial(read_json, path))
    if registry is not None:
        try:
            found = open_registry(registry)
            versions = dict.fromkeys(entry.candidate for entry in found.history() if entry.outcome == "promoted")
        except (InputError, StepFailed) as error:
            usage.unknown.append({"what": registry, "why": str(error)})
        else:
            for version in versions:
                yield from _read(usage, f"{registry}, version {version}", partial(found.lineage, version))
    for place in committed.values():
        commit, _, output = place.partition("\t")
        yield from _read(usage, f"{output} at commit {commit[:12]}", partial(_committed, commit, output))


def _committed(commit: str, path: str) -> Any:
    file = tracked_folder(commit, path).find(LINEAGE)
    if file is None:
        return None  # a folder that is no model
    with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
        file.fetch(Path(folder) / LINEAGE, _LARGEST_LINEAGE)
        return read_json(Path(folder) / LINEAGE)


def _read(usage: Usage, where: str, read: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
    try:
        document = read()
    except (InputError, StepFailed) as error:
        usage.unknown.append({"what": where, "why": str(error)})
        return
    if document is not None:
        yield where, document


def _judge(usage: Usage, lists: dict[str, bool], where: str, document: Any, known: set[str]) -> None:
    """Note a model whose line names a data set that has the clip, or one that is not known here."""
    try:
        line = parse_line(document, where)
    except InputError as error:
        usage.unknown.append({"what": where, "why": str(error)})
        return
    steps: list[str] = []
    strange: list[str] = []
    for link in line:
        sha256 = (link.lineage.dataset or {}).get(CLIPS_FILE)
        if sha256 is not None and lists.get(sha256):
            steps.append(link.lineage.step)
        elif sha256 is not None and sha256 not in lists:
            strange.append(sha256)
    if steps:
        usage.models.append({"model": where, "steps": list(dict.fromkeys(steps))})
    for sha256 in dict.fromkeys(strange):
        if sha256 not in known:
            why = f"{where} was made of it, and no version of it is here or in the store of its shards"
            usage.unknown.append({"what": f"data set {sha256[:12]}…", "why": why})
            known.add(sha256)
