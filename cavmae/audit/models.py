"""The model's own files, and its ancestors' wherever they are found."""

import os
from collections.abc import Iterator
from pathlib import Path

from cavmae.audit.findings import Audit
from cavmae.audit.line import Link
from cavmae.audit.locked import Stage, voucher
from cavmae.audit.registry import check_registry
from cavmae.models.files import CONFIG, EPOCHS, METRICS, WEIGHTS, model_fingerprint
from cavmae.models.lineage import COPIES
from cavmae.storage import sha256_file
from cavmae.stores import is_name


def check_model(audit: Audit, model: Path, line: list[Link], registry: str | None, stages: list[Stage]) -> None:
    """Look at the model's own files, at what the registry keeps of it, and at the models that it was made from."""
    missing = [name for name in (WEIGHTS, CONFIG) if not (model / name).is_file()]
    for name in missing:
        audit.add("model", str(model / name), "broken", "is missing")
    own = {} if missing else model_fingerprint(model)
    if line and own:
        _check_own(audit, model, own, line)
    if line:
        _check_metrics(audit, model, line[0].lineage.metrics)
    if own:
        check_registry(audit, model, own, registry, stages)
    _check_ancestors(audit, line, model, stages)


def _check_own(audit: Audit, model: Path, own: dict[str, str], line: list[Link]) -> None:
    first = line[0].lineage
    if first.step in COPIES and len(line) > 1 and line[1].files:
        for name in (WEIGHTS, CONFIG):
            wanted = line[1].files.get(name, "")
            audit.compare("model", str(model / name), own[name], wanted, f"lineage of {first.step}")
    else:
        audit.add("model", str(model / WEIGHTS), "claimed", f"{own[WEIGHTS]}: what {first.step} made names no hash of itself")


def _check_metrics(audit: Audit, model: Path, wanted: str | None) -> None:
    path = model / METRICS
    if wanted is None:
        if path.is_file():
            audit.add("metrics", str(path), "claimed", "the lineage names no hash of it")
    elif not path.is_file():
        audit.add("metrics", str(path), "broken", "is missing, the lineage names it")
    else:
        audit.compare("metrics", str(path), sha256_file(path), wanted, "lineage of package")


def _check_ancestors(audit: Audit, line: list[Link], model: Path, stages: list[Stage]) -> None:
    """Look for each ancestor by the hash of its weights, among the models beside this one."""
    beside = list(_models_beside(model))
    for child, link in enumerate(line[1:]):
        files, by = link.files or {}, f"lineage of {line[child].lineage.step}"
        same = [(folder, found) for folder, found in beside if found[WEIGHTS] == files.get(WEIGHTS)]
        if not same:
            wanted = files.get(WEIGHTS, "")
            audit.add("ancestors", f"{link.name}, weights {wanted[:12]}…", "claimed", "no model here has these weights")
            continue
        # random weights of one seed are the same for any data: what else is in the folder tells which model it is
        folder, found = next((one for one in same if _has(one[1], files)), None) or same[-1]
        if not _has(found, files):
            vouched = next((one for one in same if voucher(stages, one[0]) is not None), None)
            if vouched is not None:
                why = f"{vouched[0]} has these weights with another configuration now, as dvc.lock names it; {by} says"
                audit.add("ancestors", str(vouched[0] / CONFIG), "differs", f"{why} {files.get(CONFIG, '')[:12]}…")
                continue
        for name, sha256 in sorted(files.items()):
            if not is_name(name):
                audit.add("ancestors", f"{folder}, {name!r}", "broken", f"{by} names a file outside the folder")
            elif name not in found:
                audit.add("ancestors", str(folder / name), "broken", f"{by} names it, and no model has such a file")
            else:
                audit.compare("ancestors", str(folder / name), found[name], sha256, by)
    for link in line:
        _check_epochs(audit, link, [folder for folder, _ in beside])
        for place, sha256 in sorted((link.lineage.checkpoint or {}).items()):
            _check_checkpoint(audit, link.lineage.step, place, str(sha256))


def _has(found: dict[str, str], wanted: dict[str, str]) -> bool:
    return all(found.get(name) == sha256 for name, sha256 in wanted.items())


def _check_epochs(audit: Audit, link: Link, folders: list[Path]) -> None:
    """The weights of single epochs that were averaged, where the model that they belong to is here."""
    for name, wanted in sorted(link.lineage.epochs.items()):
        if not is_name(name):
            audit.add(
                "ancestors", f"{EPOCHS}, {name!r}", "broken", f"lineage of {link.lineage.step} names a file outside the folder"
            )
            continue
        file = next(
            (path for folder in folders if (path := folder / EPOCHS / name).is_file() and sha256_file(path) == wanted),
            None,
        )
        what = f"{name} that {link.lineage.step} used"
        if file is None:
            audit.add("ancestors", what, "claimed", f"{wanted[:12]}… lies in no model here")
        else:
            audit.add("ancestors", str(file), "proved", f"lineage of {link.lineage.step}")


def _check_checkpoint(audit: Audit, step: str, place: str, wanted: str) -> None:
    path = Path(place)
    if path.is_file():
        audit.compare("ancestors", place, sha256_file(path), wanted, f"lineage of {step}", "differs")
    else:
        audit.add("ancestors", place, "claimed", f"checkpoint of {step}, {wanted[:12]}…, is not here")


def _models_beside(model: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Model folders around this one, with the hashes of weights and configuration."""
    above = [folder for folder in model.resolve().parents if folder.name == "models"]
    root = above[0] if above else model.resolve().parent
    for folder in sorted({*root.glob("*"), *root.glob("*/*")}):
        if os.path.realpath(folder) == os.path.realpath(model):
            continue  # it may be a copy of the one before it, and proves nothing of that
        try:
            if not ((folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()):
                continue
            found = model_fingerprint(folder)
        except OSError:  # somebody else's
            continue
        yield (Path(os.path.relpath(folder)) if root.is_relative_to(Path.cwd()) else folder), found
