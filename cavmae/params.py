"""params.yaml: every knob of every step with its default, its unit in the comment beside it, and nowhere else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from cavmae.errors import InputError


class Section(BaseModel):
    """Base of the frozen, typed parameter models: one for each section of params.yaml. Fields have no defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true would be taken for 1."""
        kinds = set(_kinds(cls.model_fields[info.field_name].annotation)) if info.field_name else set()
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("input should be a number")
        return value


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, one by one."""
    within = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from _kinds(within[0])
    elif within and get_origin(annotation) in (Union, UnionType):
        for one in within:
            yield from _kinds(one)
    else:
        yield annotation


@dataclass(frozen=True)
class Overlay:
    """Values for some keys of one section, nested as in params.yaml, which they take the place of; and the file they are from."""

    path: Path
    values: Mapping[str, Any]


_UNREADABLE = object()  # what is no YAML
# besides its own errors, a loader raises what Python does for dates, numbers and nesting that it cannot hold
YAML_ERRORS = (yaml.YAMLError, ValueError, OverflowError, RecursionError)

SectionType = TypeVar("SectionType", bound=Section)


def default_params_path() -> Path:
    """Return ./params.yaml where there is one, else the copy that came with the library."""
    here = Path("params.yaml")
    if here.is_file():
        return here
    package = Path(__file__).resolve().parent
    packaged = package / "params.yaml"
    return packaged if packaged.is_file() else package.parent / "params.yaml"


def load_section(
    model: type[SectionType], name: str, path: Path, overrides: Sequence[str] = (), overlay: Overlay | None = None
) -> SectionType:
    """Return section `name` of the file `path`, with `overlay` and then `key=value` overrides applied, checked against `model`.

    Keys of overrides are relative to the section (`lr=1e-3`, `model.embed_dim=96`); the section's own name may stand in
    front. Values are YAML; where `model` wants text, it gets text: a folder may be called 2024 or `no`.
    An unknown key, a wrong type or an impossible value raises InputError naming the key, the value and what is
    allowed.
    """
    return check_section(model, name, read_section(name, path), path, overrides, overlay)


def check_section(
    model: type[SectionType],
    name: str,
    section: dict[str, Any],
    path: Path,
    overrides: Sequence[str] = (),
    overlay: Overlay | None = None,
) -> SectionType:
    """As `load_section`, for the content of a section that was read already, and is changed; messages name it after `path`."""
    origin: dict[str, str] = {}  # of the keys that do not come from the file itself; an override stands in no file
    if overlay is not None:
        keys = _apply_overlay(section, overlay.values, f"section '{name}' of {path}", overlay.path)
        origin |= dict.fromkeys(keys, f"{overlay.path}: ")
    origin |= {_apply_override(section, name, override, model): "" for override in overrides}
    try:
        return model.model_validate(section)
    except ValidationError as error:
        file = f"{path}" if overlay is None else f"{path} with {overlay.path}"
        raise InputError("; ".join(_explain(name, path, file, detail, origin) for detail in error.errors())) from None


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with a document, after the key that it is wrong with, where it is one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"key '{where}': {first['msg']}" if where else str(first["msg"])


def section_names(path: Path) -> tuple[str, ...]:
    """Return the names of the sections of a parameter file, in its order."""
    return tuple(str(name) for name in read_yaml(path))


def knobs(name: str, path: Path) -> dict[str, tuple[Any, str]]:
    """Return `{dotted key: (default, comment)}` of one section, in file order; the comment is the knob's documentation."""
    comments: dict[str, str] = {}
    trail: list[tuple[int, str]] = []
    section = read_section(name, path)
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"^( *)([A-Za-z_][\w-]*):(.*)$", line)
        if not found:
            continue
        indent, key, rest = len(found[1]), found[2], found[3]
        trail = [(at, name) for at, name in trail if at < indent] + [(indent, key)]
        comment = re.search(r"\s#\s*(.*)$", rest)
        comments[".".join(part for _, part in trail)] = comment[1].strip() if comment else ""
    flat: dict[str, tuple[Any, str]] = {}

    def flatten(value: Any, key: str) -> None:
        if isinstance(value, dict) and value:
            for inner, item in value.items():
                flatten(item, f"{key}.{inner}")
        else:
            flat[key.removeprefix(f"{name}.")] = (value, comments.get(key, ""))

    flatten(section, name)
    return flat


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return the mapping in a YAML file, empty where it holds nothing; raises InputError where it cannot be read or is none."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except YAML_ERRORS as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if document is not None and not isinstance(document, dict):
        raise InputError(f"{path}: holds no mapping of keys to values")
    return document or {}


def read_section(name: str, path: Path) -> dict[str, Any]:
    """Return one section of a parameter file as it stands there; raises InputError where there is none."""
    if not path.exists():
        raise InputError(f"{path}: no such file; name the parameter file with --params")
    section = read_yaml(path).get(name)
    if not isinstance(section, dict):
        raise InputError(f"{path}: section '{name}' is missing")
    return section


def _apply_overlay(section: dict[str, Any], values: Mapping[str, Any], whole: str, path: Path, group: str = "") -> list[str]:
    """Set what an overlay from the file `path` says in `whole`, a section; return its keys, dotted within groups."""
    keys = []
    for key, value in values.items():
        dotted = f"{group}{key}"
        if key not in section:
            raise InputError(f"{path}: {whole} has no key {dotted!r}; known keys: {', '.join(sorted(section))}")
        if isinstance(section[key], dict) != isinstance(value, Mapping):
            what = "a group of keys, not a value" if isinstance(section[key], dict) else "a value, not a group of keys"
            raise InputError(f"{path}: key {dotted!r} of {whole} holds {what}")
        if isinstance(value, Mapping):
            keys += _apply_overlay(section[key], value, whole, path, f"{dotted}.")
        else:
            section[key] = value
            keys.append(dotted)
    return keys


def _apply_override(section: dict[str, Any], name: str, override: str, model: type[Section]) -> str:
    """Set what an override says; return its key, without the section's name."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if parts[0] == name and name not in section:
        parts = parts[1:]
    if not equals or not all(parts):
        raise InputError(f"--set {override}: give it as key=value, for example --set seed=1")
    try:
        value = yaml.safe_load(text)
    except YAML_ERRORS:
        value = _UNREADABLE
    kind = _kind(model, parts)
    wants_text = kind is str or (value is not None and set(get_args(kind)) == {str, type(None)})
    if wants_text and not isinstance(value, str):
        value = text.strip()
    if value is _UNREADABLE:
        raise InputError(f"--set {override}: the value is not valid YAML")
    target = section
    for depth, part in enumerate(parts):
        if part not in target:
            known = ", ".join(sorted(target))
            raise InputError(
                f"--set {override}: section '{name}' has no key '{'.'.join(parts[: depth + 1])}'; known keys: {known}"
            )
        if depth == len(parts) - 1:
            target[part] = value
        elif isinstance(target[part], dict):
            target = target[part]
        else:
            raise InputError(f"--set {override}: '{'.'.join(parts[: depth + 1])}' holds a value, not a group of keys")
    return ".".join(parts)


def _kind(model: type[Section], parts: Sequence[str]) -> Any:
    """The type that a key is declared with; None for an unknown key."""
    kind: Any = model
    for part in parts:
        field = kind.model_fields.get(part) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        kind = field.annotation if field else None
    return kind


def _explain(name: str, path: Path, file: str, detail: Any, origin: Mapping[str, str]) -> str:
    inside = ".".join(str(part) for part in detail["loc"])
    key = f"{name}.{inside}" if inside else name
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown parameter '{key}'; remove it or correct its name"
    if detail["type"] == "missing":
        return f"{path}: parameter '{key}' is missing"
    sentence = f"{message[0].lower()}{message[1:]}"
    if isinstance(detail["input"], dict):  # a check of several keys together
        return f"{file}: parameters '{key}': {sentence}"
    return f"{origin.get(inside, f'{path}: ')}parameter '{key}' is {detail['input']!r}; {sentence}"
