"""The work of the component `check`: the parameter file and the form's `overrides`, checked and parted by step."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cavmae import steps
from cavmae.errors import InputError
from cavmae.params import check_section
from cavmae.storage import sha256_json
from components.running import failing_in_one_line

STEPS = (
    "ingest",
    "extract",
    "validate",
    "adapt",
    "fetch",
    "import",
    "pretrain",
    "finetune",
    "average",
    "evaluate",
    "package",
    "compare",
    "promote",
)
TEXTS = {"source": ("ingest", "source"), "model": ("fetch", "source")}
TEXTS |= {"checkpoint": ("adapt", "checkpoint"), "name": ("package", "name")}
_OWN = (("extract", "part"), ("promote", "run_id"))


def settle(
    params: str,
    form: str,
    overrides: str,
    source_version: str,
    store: str,
    source: str,
    model: str = "",
    checkpoint: str = "",
    name: str = "",
) -> tuple[str, ...]:
    """Return the version of the source, the place of `ingest`'s memory, then the settings of each of STEPS as JSON.

    Settings are "" where the pipeline has no such step, else `{"defaults": the step's section, "overrides": its lines}`.
    `params` is a JSON of the sections of params.yaml as compiled in; `overrides` has lines `step.key=value`, and comments after
    `#` at the start of a line. Ends the process with exit code 2 for a line that fits no parameter or value, before any work.
    """
    with failing_in_one_line("check"):
        if not store:
            raise InputError("store is empty; name a folder that all pods see, or s3://bucket/prefix, where the shards go")
        sections: dict[str, dict[str, Any]] = json.loads(params)
        texts = {"source": source, "model": model, "checkpoint": checkpoint, "name": name}
        lines, checked = check_parameters(sections, form, overrides, texts)
        ingest: Any = checked["ingest"]
        if ingest.source != source.strip():
            raise InputError("overrides: ingest.source is the form's field source; give it there")
        memory = _memory(source, sections["ingest"], lines["ingest"], store)
        source_version = source_version or _version_now(ingest)
        documents = {name: {"defaults": sections[name], "overrides": lines[name]} for name in sections}
        if "adapt" in checked and checked["adapt"].checkpoint is not None:
            from cavmae.dataset.source_version import file_version

            documents["adapt"]["reads"] = file_version(checked["adapt"].checkpoint)  # for the cache: the name alone may stay
    settings = [json.dumps(documents[name], sort_keys=True) if name in documents else "" for name in STEPS]
    return (source_version, memory, *settings)


def check_parameters(
    sections: Mapping[str, Mapping[str, Any]], form: str, overrides: str, texts: Mapping[str, str]
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the overrides and the checked parameters by step; raises InputError for a line that fits no parameter or value.

    `texts` are the form's fields that may hold anything, by their names in TEXTS.
    """
    fields = parse_lines(form, tuple(sections), "form")
    for field, (step, key) in TEXTS.items():
        if step in fields:
            fields[step].append(f"{key}={texts.get(field, '')}")
    lines = parse_lines(overrides, tuple(sections), "overrides")
    _refuse_own(lines)
    checked: dict[str, Any] = {}
    for name, content in sections.items():
        try:
            checked[name] = check_section(
                steps.load(name).params, name, _with_fields(content, fields[name]), Path("form and overrides"), lines[name]
            )
        except InputError as error:
            raise InputError(str(error).replace("--set ", f"overrides: {name}.")) from None
    return lines, checked


def _refuse_own(lines: Mapping[str, list[str]]) -> None:
    """Raise InputError for an override of what the pipeline itself gives to each task."""
    for name, key in _OWN:
        if key in [line.partition("=")[0].strip() for line in lines.get(name, ())]:
            raise InputError(f"overrides: {name}.{key} is set by the pipeline; take the line away")


def _version_now(ingest: Any) -> str:
    """What changes when anything does that the step `ingest` reads."""
    from cavmae.dataset.source_version import file_version, source_version

    found = [source_version(place) if place else "" for place in (ingest.source, ingest.val_source, ingest.test_source)]
    found += [file_version(place) if place else "" for place in (ingest.labels_csv, ingest.weights_csv)]
    return sha256_json(found)[:16] if any(found[1:]) else found[0]


def parse_lines(text: str, names: tuple[str, ...], origin: str) -> dict[str, list[str]]:
    """Return the lines `key=value` of each step; raises InputError naming the line that belongs to none."""
    lines: dict[str, list[str]] = {name: [] for name in names}
    for number, words in enumerate(text.splitlines(), start=1):
        line = words.strip()
        if not line or line.startswith("#"):
            continue
        name, dot, rest = line.partition(".")
        if not dot or name not in lines or "=" not in rest:
            raise InputError(
                f"{origin}, line {number}: {line!r} is not step.key=value with a step of this pipeline ({', '.join(names)})"
            )
        lines[name].append(rest)
    return lines


def _with_fields(content: Mapping[str, Any], lines: list[str]) -> dict[str, Any]:
    """The section with the form's values in it; an empty field means null."""
    fields = {key.strip(): text for key, _, text in (line.partition("=") for line in lines)}
    return {**json.loads(json.dumps(content)), **{key: text.strip() or None for key, text in fields.items()}}


def _memory(source: str, section: Mapping[str, Any], lines: list[str], store: str) -> str:
    """Where ids, splits and shards of a source are kept from run to run: in the store, a place for each source.

    Empty where the user has named another, and for the sample set, which is always the same.
    """
    given = {**section, **_with_fields(section, lines)}
    if given["memory"] or source == "sample":
        return str(given["memory"] or "")
    from cavmae.dataset.sources import same_directory

    identity = [same_directory(place) if place else None for place in (source, given["val_source"], given["test_source"])]
    return f"{store.rstrip('/')}/manifests/{sha256_json(identity)[:16]}"
