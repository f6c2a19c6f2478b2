"""docs/recipes.md against the recipe files: its tables are made of them."""

import re
from pathlib import Path

import pytest

from cavmae.recipe import Recipe
from cavmae.recipe_pages import expected, starts_from
from cavmae.recipes import read_recipe
from tests.test_recipe_files import RECIPES
from tests.training.tiny import PARAMS, REPOSITORY

PAGE = REPOSITORY / "docs" / "recipes.md"
HEAD = ["| recipe | what | must give | clips to train on | starts from | source | run with |", "|---|---|---|---|---|---|---|"]


def row(recipe: Recipe) -> str:
    assert recipe.start is not None
    name, step = recipe.name, recipe.name.partition("-")[0]
    gives = "; ".join(f"`{text}`" for text in map(expected, recipe.results)).replace("train.retrieval.", "")
    if recipe.results[0].value is None:
        gives = f"see {', '.join(recipe.checked_by)}" if recipe.checked_by else "not known"
    first = recipe.data[0]
    clips = f"{first.clips:,}" if first.clips and step != "retrieve" else "none" if step == "retrieve" else "not known"
    command = "evaluate" if step == "retrieve" and "evaluate" in recipe.params else step
    cells = [f"[{name}](../recipes/{name}.yaml)", recipe.title, gives, clips, starts_from(recipe.start), recipe.source[0]]
    return "| " + " | ".join([*cells, f"`cavmae {command} --recipe {name}`"]) + " |"


def tables(kind: str) -> str:
    """The table of the recipes of one kind, as it stands in the page."""
    return "\n".join([*HEAD, *(row(recipe) for name, recipe in RECIPES.items() if name.startswith(f"{kind}-"))])


@pytest.mark.parametrize("kind", ["pretrain", "finetune", "retrieve"])
def test_the_page_has_the_recipes_as_their_files_have_them(kind: str) -> None:
    made = tables(kind)
    assert made in PAGE.read_text(encoding="utf-8"), f"docs/recipes.md is to hold this table:\n\n{made}"


def test_the_example_is_a_recipe(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "small-batch.yaml").write_text(example)
    recipe = read_recipe(str(tmp_path / "small-batch.yaml"))
    recipe.check(PARAMS)
    assert recipe.params["pretrain"]["batch_size"] == 12 and recipe.params["pretrain"]["lr"] == 5e-5
    assert recipe.commands[-1] == "cavmae results --recipe small-batch"


def test_every_recipe_stands_in_one_of_the_tables() -> None:
    assert {name.partition("-")[0] for name in RECIPES} == {"pretrain", "finetune", "retrieve"}
