"""Which versions of the data, and which models, a clip went into: what a request to delete it has to reach."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cavmae.audit.line import parse_line
from cavmae.audit.usage_data import ClipLists
from cavmae.audit.usage_found import Usage
from cavmae.dataset.versions import CLIPS_FILE, tracked_folder
from cavmae.errors import InputError, StepFailed
from cavmae.models.files import LINEAGE
from cavmae.models.registries import open_registry
from cavmae.storage import read_json

_LARGEST_LINEAGE = 64 << 20  # bytes


def clip_usage(clip: str, dataset: Path, models: Path, registry: str | None, store: str | None = None) -> Usage:
    """Look for a clip, by id, name, path or group, in the data here and in every earlier version, and in models' lineages.

    Earlier versions are those that git has committed, and those whose lists are kept where their shards are: in `store`, or where
    the data here says. Models are those below `models`, those in the registry, and those that committed versions of dvc.lock
    name. A model used the clip where its line names a data set that has it.
    """
    usage = Usage(clip)
    lists = ClipLists(usage)
    lists.look_here(dataset)
    committed = lists.look_into_history(dataset, models)
    lists.look_into_store(dataset, store)
    known: set[str] = set()
    for where, document in _lineages(usage, models, registry, committed):
        _judge(usage, lists.has, where, document, known)
    return usage


def _lineages(usage: Usage, models: Path, registry: str | None, committed: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every lineage that can be reached, and where it was found."""
    for path in sorted({*models.glob(f"*/{LINEAGE}"), *models.glob(f"*/*/{LINEAGE}")}):
        if "versions" not in path.parts:  # those of a registry are told of as such
            yield from _read(usage, str(path.parent), partial(read_json, path))
    if registry is not None:
        yield from _of_registry(usage, registry)
    for place in committed.values():
        commit, _, output = place.partition("\t")
        yield from _read(usage, f"{output} at commit {commit[:12]}", partial(_committed, commit, output))


def _of_registry(usage: Usage, registry: str) -> Iterator[tuple[str, Any]]:
    try:
        found = open_registry(registry)
        history, champion = found.history(), found.read_champion()
        if champion is None and not history:
            raise InputError("holds no registry; name the place that models are promoted to")
    except (InputError, StepFailed, OSError) as error:
        usage.unknown.append({"what": registry, "why": str(error)})
        return
    versions = dict.fromkeys(entry.candidate for entry in history if entry.outcome == "promoted")
    if champion is not None:  # a promotion that was killed has not told of it yet
        versions[champion.version] = None
    for version in versions:
        yield from _read(usage, f"{registry}, version {version}", partial(found.lineage, version))


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
