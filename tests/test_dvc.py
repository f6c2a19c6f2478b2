"""dvc.yaml against the steps' descriptions: commands, paths and parameters."""

import json
import shlex
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from cavmae import cli, steps
from cavmae.dataset.loader import ClipSet
from cavmae.evaluation.evaluator import evaluate_models
from cavmae.evaluation.presentation import write_plots
from tests.training.tiny import PARAMS, REPOSITORY, params, tiny

# what a step reads of its own earlier output would be deleted by DVC before every run
PERSISTENT = {"data/ingest", "data/shards"}


def stages() -> dict[str, dict[str, Any]]:
    """Every stage, those of `foreach` once for each item."""
    defaults = yaml.safe_load(PARAMS.read_text())
    found: dict[str, dict[str, Any]] = {}
    for name, stage in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"].items():
        for item in stage.get("foreach", [None]):
            text = yaml.safe_dump(stage["do"] if item else stage).replace("${item}", str(item))
            text = text.replace("${ingest.watch}", defaults["ingest"]["watch"])
            assert "${" not in text, "the test does not know this substitution"
            found[f"{name}@{item}" if item else name] = yaml.safe_load(text)
    return found


STAGES = stages()


def paths(entries: list[Any]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def held(place: str, entries: set[str]) -> bool:
    """True where a path is listed, or lies below or above a listed one."""
    wanted = PurePosixPath(place)
    return any(wanted == (entry := PurePosixPath(text)) or wanted.is_relative_to(entry) for text in entries)


def used_paths(stage: dict[str, Any], step: steps.Step) -> dict[str, str]:
    """Where the stage's command lets the step's files lie."""
    words = shlex.split(stage["cmd"])
    options = cli._parser(step.name, PARAMS).parse_args(words[1:])
    return {item.name: getattr(options, item.name) or item.path for item in (*step.inputs, *step.outputs)}


@pytest.mark.parametrize("name", STAGES)
def test_the_command_is_the_steps_own_with_flags_that_it_accepts(name: str) -> None:
    words = shlex.split(STAGES[name]["cmd"])
    assert words[:2] == ["cavmae", name.partition("@")[0]]
    options = cli._parser(words[1], PARAMS).parse_args(words[1:])
    assert options.step == words[1] and options.params == PARAMS


@pytest.mark.parametrize("name", STAGES)
def test_dependencies_and_outputs_are_the_steps_at_the_paths_that_the_command_uses(name: str) -> None:
    stage, step = STAGES[name], steps.load(name.partition("@")[0])
    used = used_paths(stage, step)
    inputs = paths(stage["deps"])
    outputs = paths([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])
    for item in step.inputs:
        assert held(used[item.name], inputs), f"{item.name}: {used[item.name]} is no dependency"
    tracked = {used[item.name] for item in step.outputs if item.tracked}
    assert tracked == outputs
    assert not any(used[item.name] in outputs for item in step.outputs if not item.tracked)
    made = {used_path for item in step.inputs for used_path in [used[item.name]]}
    foreign = {entry for entry in inputs - made if not (REPOSITORY / entry).exists()}
    assert foreign <= {"data/shards"}, "what is neither code nor an input is named: shards lie behind the validated set"


@pytest.mark.parametrize("name", STAGES)
def test_parameters_name_the_steps_section(name: str) -> None:
    assert STAGES[name]["params"] == [name.partition("@")[0]]


def test_what_is_continued_persists_and_nothing_else() -> None:
    persistent = {
        path
        for stage in STAGES.values()
        for entry in stage.get("outs", [])
        if isinstance(entry, dict)
        for path, how in entry.items()
        if how.get("persist")
    }
    assert persistent == PERSISTENT


def test_every_input_is_made_by_some_stage_and_every_step_of_the_pipeline_has_one() -> None:
    outputs = set().union(*(paths([*stage.get("outs", []), *stage.get("metrics", [])]) for stage in STAGES.values()))
    for name, stage in STAGES.items():
        for entry in paths(stage["deps"]):
            whole = PurePosixPath(entry)
            made = any(PurePosixPath(output) == whole or PurePosixPath(output).is_relative_to(whole) for output in outputs)
            assert made or (REPOSITORY / entry).exists(), f"{name}: {entry} comes from nowhere"
    assert {name.partition("@")[0] for name in STAGES} == {name for name in steps.NAMES if steps.load(name).in_pipeline}


def test_plots_show_columns_of_files_that_stages_write(tmp_path: Path) -> None:
    data, model = ClipSet(tiny().dataset), tiny().classifier()
    write_plots(tmp_path / "plots", evaluate_models(data, [model], None, params("evaluate", replicates=0)), data)
    outputs = set().union(*(paths(stage.get("outs", [])) for stage in STAGES.values()))
    document = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    for plot in document["plots"]:
        for settings in plot.values():
            for file, columns in settings["y"].items():
                assert held(file, outputs), file
                trained = tiny().pretrained if file.endswith("pretrain.tsv") else model
                made = tmp_path / "plots" / Path(file).name if "plots" in file else trained / "curves.tsv"
                written = (
                    list(json.loads(made.read_text())[0]) if made.suffix == ".json" else made.read_text().splitlines()[0].split()
                )
                wanted = [settings["x"], *(columns if isinstance(columns, list) else [columns])]
                assert set(wanted) <= set(written), f"{file} has no {set(wanted) - set(written)}"
    assert document["metrics"] and all(held(file, outputs) for file in document["metrics"])
    assert all((tmp_path / "plots" / Path(file).name).is_file() for file in document["metrics"])
