"""The form of a pipeline: which knobs of params.yaml it shows, with their defaults and words from there."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cavmae.errors import InputError
from cavmae.params import check_section, knobs, read_section
from cavmae.steps import load
from pipelines.settings import Settings


@dataclass(frozen=True)
class Field:
    """A field that is no knob of a step: its default and what it means."""

    default: Any
    help: str


FREE_TEXT = ("source", "model", "checkpoint", "name")


class Form(dict[str, Any]):
    """What kfp hands to a pipeline function for its fields, by name."""

    def lines(self, names: Mapping[str, str]) -> str:
        """Return a line `step.key=value` for every field that shows a knob and is no free text, for the component `check`.

        Kubeflow puts values into the lines as they are, within a JSON: a quotation mark would break it.
        """
        return "\n".join(f"{knob}={self[name]}" for name, knob in names.items() if name not in FREE_TEXT)

    def texts(self) -> dict[str, Any]:
        """Return the fields of free text by name, empty where the pipeline has none of that name."""
        return {name: self.get(name, "") for name in FREE_TEXT}


def form_of(function: Callable[..., Any], names: Mapping[str, str], params: Path, settings: Settings) -> dict[str, Field]:
    """Return the fields of a pipeline function's parameters, in their order; `names` maps those that show a knob: `step.key`.

    Raises InputError where a knob's default is not of the field's type.
    """
    own = own_fields(settings)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in names:
            found[name] = own[name]
            continue
        step, _, key = names[name].partition(".")
        default, comment = knobs(step, params)[key]
        if key == "device":
            default = "cuda" if settings.train.gpus else default
        kind = parameter.annotation
        default = "" if default is None and kind is str else default
        if kind is float and isinstance(default, int) and not isinstance(default, bool):
            default = float(default)
        if type(default) is not kind:
            raise InputError(
                f"{params}: parameter '{names[name]}' is {default!r}; the form of the pipelines wants {kind.__name__}"
            )
        found[name] = Field(default, f"{names[name]}: {comment}")
    return found


def own_fields(settings: Settings) -> dict[str, Field]:
    """The fields that belong to a run, not to a step."""
    return {
        "source_version": Field(
            "", "what changes when the source does; empty: the run looks it up. It decides what the cache may give"
        ),
        "store": Field(settings.storage.store, "where shards go: s3://bucket/prefix, or a folder that all pods see"),
        "registry": Field(settings.storage.registry, "where model versions and the champion are kept: s3:// or a folder"),
        "parts": Field(8, "most parts that the extraction falls into, side by side; a part is a set of whole shards"),
        "overrides": Field("", "lines step.key=value for every other parameter; they stand over the fields of this form"),
    }


def with_form(function: Callable[..., Any], fields: Mapping[str, Field]) -> None:
    """Give a pipeline function the defaults, and the docstring that the UI's form shows."""
    signature = inspect.signature(function)
    parameters = [parameter.replace(default=fields[name].default) for name, parameter in signature.parameters.items()]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    summary = (inspect.getdoc(function) or "").split("\n\nArgs:")[0]
    lines = [f"    {name}: {field.help}" for name, field in fields.items()]
    function.__doc__ = "\n".join([summary, "", "Args:", *lines])


def sections(names: tuple[str, ...], params: Path) -> str:
    """Return these sections of params.yaml as JSON, each checked: what a pipeline carries as the defaults of its steps."""
    content = {name: read_section(name, params) for name in names}
    for name, section in content.items():
        check_section(load(name).params, name, json.loads(json.dumps(section)), params)
    return json.dumps(content, sort_keys=True)
