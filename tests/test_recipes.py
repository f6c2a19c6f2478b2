"""Recipes as a user meets them: where they are found, what stands over what, what is shown, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cavmae import cli, recipes
from cavmae.errors import InputError
from cavmae.recipes import read_recipe, recipe_files
from cavmae.steps import Step
from tests.test_cli import complaint
from tests.training.tiny import PARAMS, REPOSITORY

BASE = """
title: Base of {name}
results:
  - {metric: test.audio.mAP, file: "metrics/{name}.json", value: 0.5, tolerance: 0.01, why: one run}
source: [a paper]
data: [{file: list.json, clips: 1234, use: to train on}]
start: {recipe: first, checkpoint: first.pth}
commands:
  - cavmae ingest --recipe {name}
  - cavmae import weights/{checkpoint} --out models/{start}
  - cavmae pretrain --recipe {name} --start models/{start}
  - cavmae evaluate --recipe {name} --model models/{name}
notes: [of the base]
params:
  pretrain: {lr: 0.5, roll: 3, seed: 5}
  adapt: {model: {depth: 7, num_heads: 2}}
"""
CHILD = """
title: Child
extends: base
results: [{metric: val_loss, file: curve.tsv, value: null, why: never published}]
source: [another paper]
notes: [of the child]
params: {pretrain: {roll: 4}, adapt: {model: {depth: 8}}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and two recipes in ./recipes, and no others."""
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "base.yaml").write_text(BASE)
    (tmp_path / "recipes" / "child.yaml").write_text(CHILD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(recipes, "_folders", lambda: [Path("recipes"), tmp_path / "packaged"])
    return tmp_path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, here: Path) -> list[Any]:
    """The parameters with which a step's function would be called."""
    calls: list[Any] = []
    monkeypatch.setattr(Step, "run", lambda self, params, paths: calls.append(params))
    return calls


def write(text: str, name: str = "own.yaml") -> str:
    Path(name).write_text(text)
    return name


def test_flags_stand_over_the_recipe_and_the_recipe_over_the_file(seen: list[Any]) -> None:
    assert cli.main(["pretrain", "--recipe", "base", "--lr", "0.25", "--set", "seed=9"]) == 0
    assert (seen[0].lr, seen[0].roll, seen[0].seed) == (0.25, 3, 9)
    assert seen[0].beta1 == 0.9, "what the recipe leaves out is the file's"


def test_a_recipe_reaches_into_groups_and_leaves_the_rest_of_them(seen: list[Any]) -> None:
    assert cli.main(["adapt", "--recipe", "recipes/base.yaml"]) == 0
    assert (seen[0].model.depth, seen[0].model.num_heads, seen[0].model.embed_dim) == (7, 2, 96)


def test_a_recipe_that_sets_nothing_for_a_step_says_so(seen: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    assert cli.main(["package", "--recipe", "base"]) == 0
    assert "package: recipe base sets nothing for this step" in caplog.text


def test_a_child_takes_over_what_it_does_not_say(here: Path) -> None:
    child = read_recipe("child")
    assert child.params == {"pretrain": {"lr": 0.5, "roll": 4, "seed": 5}, "adapt": {"model": {"depth": 8, "num_heads": 2}}}
    assert child.commands[2] == "cavmae pretrain --recipe child --start models/first"
    assert child.commands[1] == "cavmae import weights/first.pth --out models/first"
    assert (child.notes, child.source, child.results[0].value) == (["of the base", "of the child"], ["another paper"], None)
    assert child.data == read_recipe("base").data and child.start == read_recipe("base").start
    assert read_recipe("base").results[0].file == "metrics/base.json"


def test_a_child_given_by_its_path_finds_the_base_beside_it_or_among_the_known(here: Path) -> None:
    (here / "elsewhere").mkdir()
    shutil.move("recipes/child.yaml", "elsewhere/child.yaml")
    assert read_recipe("elsewhere/child.yaml").params["pretrain"]["lr"] == 0.5
    Path("elsewhere/base.yaml").write_text(BASE.replace("lr: 0.5", "lr: 0.125"))
    assert read_recipe("elsewhere/child.yaml").params["pretrain"]["lr"] == 0.125


def test_a_recipe_of_ones_own_takes_the_place_of_the_packaged_one(here: Path) -> None:
    (here / "packaged").mkdir()
    (here / "packaged" / "base.yaml").write_text(BASE.replace("lr: 0.5", "lr: 0.125"))
    (here / "packaged" / "other.yaml").write_text(BASE)
    assert list(recipe_files()) == ["base", "child", "other"]
    assert read_recipe("base").params["pretrain"]["lr"] == 0.5 and read_recipe("other").name == "other"
    Path("recipes/base.yaml").unlink()
    assert read_recipe("base").params["pretrain"]["lr"] == 0.125


def test_the_recipes_that_come_with_the_library_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(recipe_files()) == {path.stem for path in (REPOSITORY / "recipes").glob("*.yaml")} != set()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1", "holds no mapping"),
        ("title: [", "line 1: not valid YAML"),
        ("title: x", "'results' is missing"),
        ("title: x\ntitel: y", "unknown key 'titel'"),
        ("title: x\npath: y", "unknown key 'path'"),
        ("title: '\\e[31m'\nextends: base".replace("'", '"'), "'title': it must be text that can be shown"),
        ("title: x\nextends: own", "extends itself, by way of own"),
        ("title: x\nextends: ../base", "'extends': string should match"),
        ("title: x\nextends: nobody", "'extends': there is no recipe 'nobody'"),
        ("title: x\nextends: base\nresults: 3", "'results': input should be a valid list"),
        ("title: x\nextends: base\nresults: [{metric: a, file: b, value: 1, why: c}]", "value and tolerance are given together"),
        ("title: x\nextends: base\nstart: {}", "'start': name a recipe"),
        ("title: x\nparams: [1]", "'params': it must hold keys and values"),
        ("title: x\nparams: {pretrain: {lr: [1]}}", "'params': 'lr' must be a single value"),
        ("title: x\nparams: {pretrain: &a {lr: *a}}", "'params': 'lr' must be a single value"),
        ('title: x\nparams: {"\\e": {lr: 1}}', "'params': '\\x1b' is no key"),
        ("title: x\nparams: {training: {lr: 1}}", "'params.training' is no section; sections: ingest"),
    ],
)
def test_a_wrong_recipe_is_named_with_file_and_key(here: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        read_recipe(write(text))
    assert str(raised.value).startswith("own.yaml") and told in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ("pretrain: {lr: -1}", "own.yaml: parameter 'pretrain.lr' is -1; input should be greater than 0"),
        (
            "pretrain: {rate: 1}",
            "own.yaml: section 'pretrain' of params.yaml has no key 'rate'; known keys: activation_checkpointing",
        ),
        ("adapt: {model: {width: 1}}", "own.yaml: section 'adapt' of params.yaml has no key 'model.width'"),
        ("pretrain: {lr: {x: 1}}", "own.yaml: key 'lr' of section 'pretrain' of params.yaml holds a value, not a group of keys"),
        ("adapt: {model: 3}", "own.yaml: key 'model' of section 'adapt' of params.yaml holds a group of keys, not a value"),
        ("ingest: {val_source: x.json}", "params.yaml with own.yaml: parameters 'ingest': the sample set"),
        ("finetune: {mode: both}", "own.yaml: parameter 'finetune.mode' is 'both'"),
    ],
)
def test_a_wrong_value_stops_whichever_step_is_run_first(
    here: Path, capsys: pytest.CaptureFixture[str], params: str, told: str
) -> None:
    line = complaint(capsys, "extract", "--recipe", write(f"title: x\nextends: base\n{BASE_RESULTS}params: {{{params}}}"))
    assert told in line


BASE_RESULTS = "results: [{metric: a, file: b, value: null, why: c}]\nsource: [d]\n"


def test_an_override_is_blamed_before_the_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "pretrain", "--recipe", "base", "--lr", "-2")
    assert line == "cavmae pretrain: parameter 'pretrain.lr' is -2; input should be greater than 0"


def test_an_unknown_name_is_told_with_the_nearest_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "pretrain", "--recipe", "bass").endswith("there is no recipe 'bass'; is it base?")
    assert "`cavmae recipes` lists them" in complaint(capsys, "pretrain", "--recipe", "../../etc/passwd")
    assert "no.yaml: no such file" in complaint(capsys, "recipes", "no.yaml")


def test_a_parameter_file_with_one_section_is_enough(seen: list[Any]) -> None:
    section = PARAMS.read_text().partition("\npretrain:\n")[2].partition("\nfinetune:")[0]
    Path("small.yaml").write_text(f"pretrain:\n{section}\n")
    assert cli.main(["pretrain", "--recipe", "base", "--params", "small.yaml"]) == 0
    assert seen[0].roll == 3


def test_all_recipes_are_listed_and_a_broken_one_does_not_hide_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("title: x", "recipes/broken.yaml")
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["recipe", "what", "must", "give", "data"]
    assert "test.audio.mAP 0.5 ± 0.01" in lines[1] and lines[1].startswith("base ") and lines[1].endswith("list.json")
    assert "val_loss not known" in lines[2]
    assert lines[3:] == ["cannot be used: recipes/broken.yaml: 'results' is missing"]


def test_one_recipe_is_shown_with_its_commands_in_order(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(BASE.replace("notes:", "released: done.pth\nnotes:"), "recipes/base.yaml")
    assert cli.main(["recipes", "base"]) == 0
    shown = capsys.readouterr().out
    for part in ("test.audio.mAP 0.5 ± 0.01", "one run", "a paper", "list.json (1,234 clips)", "recipe first", "of the base"):
        assert part in shown
    assert "adapt: model.depth=7, model.num_heads=2" in shown
    commands = [line for line in shown.splitlines() if line.startswith("cavmae ")]
    assert commands[:4] == read_recipe("base").commands
    assert [line.split()[1] for line in commands[4:]] == ["ingest", "import", "evaluate"]
    assert "cavmae import weights/done.pth --out models/base" in commands
    write(BASE.replace("lr: 0.5", "lr: -1"), "recipes/base.yaml")
    assert "'pretrain.lr' is -1" in complaint(capsys, "recipes", "base")


@pytest.mark.parametrize(
    ("sections", "taken"),
    [
        ("finetune: {lr: 0.5}", ""),
        ("finetune: {mode: audioonly}", " --mode audioonly"),
        ("finetune: {lr: 0.5}\n  ingest: {source: lists/a.json, labels_csv: lists/a.csv}", " --labels-csv lists/a.csv"),
    ],
)
def test_released_weights_are_taken_with_what_the_recipe_says_of_them(
    here: Path, capsys: pytest.CaptureFixture[str], sections: str, taken: str
) -> None:
    write(BASE.replace("notes:", "released: done.pth\nnotes:").partition("params:")[0] + f"params:\n  {sections}\n")
    assert cli.main(["recipes", "own.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"cavmae import weights/done.pth --out models/own{taken}" in lines


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.5, "reproduced"),
        (0.49, "reproduced"),
        (0.51, "reproduced"),
        (0.52, "0.0200 above"),
        (0.4, "not reproduced: 0.1000 below"),
    ],
)
def test_results_say_whether_a_number_is_reproduced(
    here: Path, capsys: pytest.CaptureFixture[str], value: float, verdict: str
) -> None:
    Path("metrics").mkdir()
    Path("metrics/base.json").write_text(json.dumps({"test": {"audio": {"mAP": value, "accuracy": 0.25}}}))
    assert cli.main(["results", "--recipe", "base"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("test split") and lines[-2].split() == ["base", "measured", "expected"]
    assert lines[-1].startswith(f"test.audio.mAP  {value:.4f}") and "0.5 ± 0.01" in lines[-1] and lines[-1].endswith(verdict)
    assert not any(line.startswith("report") for line in lines)


def test_results_of_pretraining_are_the_last_row_of_its_curve(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("curve.tsv").write_text("epoch\tval_loss\n1\t4.5\n2\t3.25\n")
    assert cli.main(["results", "--recipe", "child"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["val_loss", "3.2500", "not", "known", "never", "published"] and len(lines) == 2


def test_results_that_are_not_there_are_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "metrics/base.json: no such file" in complaint(capsys, "results", "--recipe", "base")
    assert "curve.tsv: no such file" in complaint(capsys, "results", "--recipe", "child")
    Path("curve.tsv").write_text("epoch\tloss\n1\t4.5\n")
    assert "curve.tsv: holds no number 'val_loss'" in complaint(capsys, "results", "--recipe", "child")
    Path("curve.tsv").write_text("epoch\tval_loss\n1\tx\n")
    assert "curve.tsv: is no table of curves" in complaint(capsys, "results", "--recipe", "child")
    Path("other.json").write_text(json.dumps({"test": {"audio": {"mAP": True}}}))
    assert "other.json: holds no number 'test.audio.mAP'" in complaint(
        capsys, "results", "--recipe", "base", "--metrics", "other.json"
    )
