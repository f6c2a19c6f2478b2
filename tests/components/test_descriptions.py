"""Components against the steps' descriptions: artifacts, parameters and their types, images, words; and no logic of their own."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cavmae import steps
from tests.training.tiny import REPOSITORY

FOLDER = REPOSITORY / "components"
STEPS = ("ingest", "extract", "validate", "adapt", "fetch", "pretrain", "finetune", "average", "evaluate", "package", "compare")
STEPS = (*STEPS, "promote")
BESIDE = {"join": "extract", "check": None, "plan": None, "refuse": None, "farewell": None}
# what a component takes beside the parameters of its step
PLUMBING = {"settings", "import_settings", "launch", "registry", "parts", "model_version"}
KINDS = {"String": str, "Integer": int, "Double": float, "Boolean": bool}
LOCATIONS = {"registry"}  # given as words, not as artifacts: the registry is no result of one run
NOT_USED = {"evaluate": {"audio_model", "video_model"}}  # a run trains one classifier


def component(name: str) -> Any:
    return getattr(import_module(f"components.{name}"), name)


def step_of(name: str) -> steps.Step:
    return steps.load(BESIDE.get(name) or name)


def tree_of(name: str) -> ast.FunctionDef:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef))


def spec(name: str) -> Any:
    return component(name).component_spec


def is_artifact(one: Any) -> bool:
    return "system." in str(one.type)


def test_every_step_of_the_graph_and_every_step_that_only_a_cluster_runs_has_a_component() -> None:
    graph = {name for name in steps.NAMES if steps.load(name).in_pipeline}
    assert graph <= set(STEPS)
    assert set(STEPS) - graph == {"compare", "promote", "fetch"}
    files = {path.stem for path in FOLDER.glob("*.py") if "@dsl.component" in path.read_text()}
    assert files == {*STEPS, *BESIDE}


@pytest.mark.parametrize("name", [*STEPS, "join"])
def test_artifacts_are_those_of_the_step(name: str) -> None:
    step, inputs, outputs = step_of(name), spec(name).inputs or {}, spec(name).outputs or {}
    wanted = {item.name for item in step.inputs} - LOCATIONS - NOT_USED.get(name, set())
    assert {key for key, one in inputs.items() if is_artifact(one)} == wanted
    for item in step.inputs:
        if item.name in wanted:
            assert inputs[item.name].optional == item.optional
    made = {item.name for item in step.outputs} - LOCATIONS
    assert made <= {key for key, one in outputs.items() if is_artifact(one)}


@pytest.mark.parametrize("name", [*STEPS, "join"])
def test_parameters_are_knobs_of_the_step_with_their_types(name: str) -> None:
    step = step_of(name)
    inputs = {key: one for key, one in (spec(name).inputs or {}).items() if not is_artifact(one)}
    for key, one in inputs.items():
        if key in PLUMBING or key.removesuffix("_version") in (spec(name).inputs or {}) or key == "source_version":
            continue
        field = step.params.model_fields[key]
        given = KINDS[one.type]
        allowed = str(field.annotation)
        assert given.__name__ in allowed or (given is str and "Literal" in allowed), f"{name}.{key}: {one.type} for {allowed}"
        assert not one.optional, f"{name}.{key}: defaults stand in params.yaml"


@pytest.mark.parametrize("name", [*STEPS, "join"])
def test_every_input_artifact_has_its_version_so_that_the_cache_goes_by_content(name: str) -> None:
    inputs = spec(name).inputs or {}
    unversioned = {"evaluate": {"model", "pretrained", "curves"}, "promote": {"decision"}}.get(name, set())
    artifacts = {key for key, one in inputs.items() if is_artifact(one)} - unversioned
    assert {f"{key}_version" for key in artifacts} <= set(inputs)


@pytest.mark.parametrize("name", [*STEPS, *BESIDE])
def test_the_image_is_the_one_that_the_step_names(name: str) -> None:
    wanted = step_of(name).image if name in STEPS or BESIDE[name] else "data"
    assert spec(name).implementation.container.image == f"cavmae-{wanted}"


@pytest.mark.parametrize("name", [*STEPS, *BESIDE])
def test_everything_is_explained_for_the_ui(name: str) -> None:
    found = spec(name)
    assert found.description
    described = {**(found.inputs or {}), **(found.outputs or {})}
    named = tree_of(name).args.args
    silent = [key for key, one in described.items() if not one.description and key != "status"]
    assert silent == [] and len(named) > 0


@pytest.mark.parametrize("name", [*STEPS, *BESIDE])
def test_the_body_has_no_logic_of_its_own(name: str) -> None:
    body = tree_of(name).body
    assert len(body) <= 10
    for statement in body:
        assert isinstance(statement, ast.Expr | ast.ImportFrom | ast.Assign | ast.Return | ast.Raise), ast.unparse(statement)
        if isinstance(statement, ast.ImportFrom):
            assert (statement.module or "").split(".")[0] == "components"
    branching = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.IfExp, ast.comprehension, ast.Lambda)
    assert not [node for statement in body for node in ast.walk(statement) if isinstance(node, branching)]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_nothing_here_imports_torch_or_airflow_or_dvc(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {module.split(".")[0] for module in modules} & {"torch", "airflow", "dvc"}


def test_settings_of_check_are_those_of_the_steps() -> None:
    from components.settling import STEPS as SETTLED

    outputs = spec("check").outputs
    assert [key.rstrip("_") for key in outputs if key not in ("source_version", "memory")] == list(SETTLED)
    assert all(issubclass(steps.load(name).params, BaseModel) for name in SETTLED if name in steps.NAMES)
