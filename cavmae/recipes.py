"""Reading recipes: by name from ./recipes or the copy that came with the library, or by path.

With `extends` a recipe takes over what it does not say itself: parameters key by key, `data`, `start` and `commands` as they are,
`notes` in front of its own. In its texts `{name}` stands for its name, `{start}` and `{checkpoint}` for those of `start`.
"""

import difflib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cavmae import steps
from cavmae.errors import InputError
from cavmae.params import read_yaml
from cavmae.recipe import Recipe

_SUFFIX = ".yaml"
_REQUIRED = ("results", "source", "data", "start", "commands")


def recipe_files() -> dict[str, Path]:
    """Return every recipe by its name: those in ./recipes, and those that came with the library and have no namesake there."""
    found = {path.stem: path for folder in reversed(_folders()) for path in folder.glob(f"*{_SUFFIX}")}
    return {name: found[name] for name in sorted(found) if name.isprintable()}


def read_recipe(name_or_path: str) -> Recipe:
    """Return a recipe by its name, or by its path where it ends in .yaml.

    Raises InputError naming the file and the key where it is wrong, or the nearest name where there is no such recipe.
    """
    path = _find(name_or_path)
    recipe = _load(path, ())
    words = {"{name}": path.stem}
    if recipe.start is not None:
        words |= {"{start}": recipe.start.recipe or "", "{checkpoint}": recipe.start.checkpoint or ""}
    recipe = _parse(path, _fill(recipe.model_dump(exclude_unset=True), words))
    for key in _REQUIRED:
        if not getattr(recipe, key):
            raise InputError(f"{path}: '{key}' is missing")
    return recipe


def _folders() -> list[Path]:
    package = Path(__file__).resolve().parent
    packaged = package / "recipe_files"
    return [Path("recipes"), packaged if packaged.is_dir() else package.parent / "recipes"]


def _find(name_or_path: str, where: str = "") -> Path:
    if name_or_path.endswith(_SUFFIX):
        return Path(name_or_path)
    known = recipe_files()
    if name_or_path not in known:
        close = difflib.get_close_matches(name_or_path, known, n=1)
        hint = f"is it {close[0]}?" if close else "`cavmae recipes` lists them, and a path ends in .yaml"
        raise InputError(f"{where}there is no recipe {name_or_path!r}; {hint}")
    return known[name_or_path]


def _load(path: Path, above: tuple[str, ...]) -> Recipe:
    """The recipe with what it takes over from others."""
    if path.stem in above:
        raise InputError(f"{path}: extends itself, by way of {' and '.join(above)}")
    recipe = _parse(path, read_yaml(path))
    if recipe.extends is None:
        return recipe
    beside = path.with_name(f"{recipe.extends}{_SUFFIX}")
    base = _load(beside if beside.is_file() else _find(recipe.extends, f"{path}: 'extends': "), (*above, path.stem))
    merged = base.model_dump(include={"data", "start", "commands"}, exclude_unset=True)
    merged |= recipe.model_dump(exclude_unset=True)
    merged["notes"] = [*base.notes, *recipe.notes]
    merged["params"] = _merged(base.params, recipe.params)
    return _parse(path, merged)


def _parse(path: Path, document: dict[Any, Any]) -> Recipe:
    if "path" in document:
        raise InputError(f"{path}: unknown key 'path'; remove it or correct its name")
    try:
        recipe = Recipe.model_validate({**document, "path": path})
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None
    for name in recipe.params:
        if name not in steps.NAMES:
            raise InputError(f"{path}: {'params.' + name!r} is no section; sections: {', '.join(steps.NAMES)}")
    return recipe


def _explain(error: ValidationError) -> str:
    first = min(
        error.errors(), key=lambda detail: detail["type"] != "extra_forbidden"
    )  # a misspelt key, before what it leaves out
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}; remove it or correct its name"
    if first["type"] == "missing":
        return f"{key!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key!r}: {message[0].lower()}{message[1:]}"


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `own` over it, group by group."""
    groups = {key for key in own if isinstance(own[key], dict) and isinstance(base.get(key), dict)}
    return base | own | {key: _merged(base[key], own[key]) for key in groups}


def _fill(value: Any, words: dict[str, str]) -> Any:
    """Put what they stand for in the place of the words in braces, but in parameters."""
    if isinstance(value, dict):
        return {key: item if key == "params" else _fill(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, words) for item in value]
    for word, meaning in words.items():
        value = value.replace(word, meaning) if isinstance(value, str) else value
    return value
