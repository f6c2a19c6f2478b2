"""What the terminal shows of recipes: a table of all, and one with its data, its start and its commands in order."""

import json
import textwrap
from pathlib import Path
from typing import Any

from cavmae.errors import InputError
from cavmae.recipe import Recipe, Result, Start
from cavmae.recipes import read_recipe, recipe_files
from cavmae.text_tables import aligned

_WIDTH = 118
_MARGIN = 12


def recipe_table() -> str:
    """Name, title, first number and first list of every recipe, or what is wrong with it."""
    rows = [["recipe", "what", "must give", "data"]]
    broken = []
    for name, path in recipe_files().items():
        try:
            recipe = read_recipe(str(path))
        except InputError as error:
            broken.append(f"cannot be used: {error}")
            continue
        rows.append([name, recipe.title, must_give(recipe), recipe.data[0].file])
    return "\n".join([*aligned(rows), *broken])


def recipe_page(recipe: Recipe, params: Path) -> str:
    """All of one recipe, whose values are first checked against the steps; raises InputError where one is wrong."""
    recipe.check(params)
    assert recipe.start is not None
    results = [text for result in recipe.results for text in (f"{expected(result)}, in {result.file}", f"  {result.why}")]
    data = [f"{item.file}{f' ({item.clips:,} clips)' if item.clips else ''}: {item.use}" for item in recipe.data]
    lines = [f"{recipe.name}: {recipe.title}", ""]
    for label, texts in {
        "expected": results,
        "checked by": recipe.checked_by,
        "source": recipe.source,
        "data": data,
        "start": [starts_from(recipe.start)],
        "released": [recipe.released] if recipe.released else [],
        "sets": [f"{section}: {_settings(values)}" for section, values in recipe.params.items()],
        "notes": recipe.notes,
    }.items():
        lines += _item(label, texts)
    lines += ["", *recipe.commands]
    if recipe.shortcut:
        lines += ["", f"Without training, from the published {recipe.released}:", "", *recipe.shortcut]
    return "\n".join(lines)


def must_give(recipe: Recipe) -> str:
    """The first number of a recipe, or which recipes measure what it makes."""
    if recipe.results[0].value is None and recipe.checked_by:
        return f"see {recipe.checked_by[0]}"
    return expected(recipe.results[0])


def expected(result: Result) -> str:
    """`val.multimodal.mAP 0.512 ± 0.005`, or that the number is not known."""
    if result.value is None:
        return f"{result.metric} not known"
    return f"{result.metric} {result.value} ± {result.tolerance}"


def starts_from(start: Start) -> str:
    """Where the first weights come from, in words."""
    ways = [f"recipe {start.recipe}"] if start.recipe else []
    ways += [f"the published {start.checkpoint}"] if start.checkpoint else []
    ways += [f"vision-MAE weights {start.vision_mae}"] if start.vision_mae else []
    return ", or ".join(ways)


def _item(label: str, texts: list[str]) -> list[str]:
    """The texts wrapped, the label in front of the first."""
    lines = []
    for text in texts:
        margin = " " * (_MARGIN + len(text) - len(text.lstrip()))
        lines += textwrap.wrap(
            text.strip(), _WIDTH, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
        )
    return [label.ljust(_MARGIN) + lines[0][_MARGIN:], *lines[1:]] if lines else []


def _settings(values: dict[str, Any], group: str = "") -> str:
    return ", ".join(
        _settings(value, f"{group}{key}.")
        if isinstance(value, dict)
        else f"{group}{key}={json.dumps(value) if value is None or isinstance(value, bool) else value}"
        for key, value in values.items()
    )
