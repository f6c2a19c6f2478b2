"""A step is described once: function, paths, parameters and params.yaml agree, and reading a description costs nothing."""

import inspect
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from cavmae import steps
from cavmae.params import Section, knobs
from cavmae.steps import Step
from tests.training.tiny import PARAMS, REPOSITORY

ALL = [pytest.param(steps.load(name), id=name) for name in steps.NAMES]


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every field by its dotted name; those of groups instead of the group."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= fields(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


@pytest.mark.parametrize("step", ALL)
def test_the_function_takes_exactly_what_the_description_names(step: Step) -> None:
    signature = inspect.signature(step.function, eval_str=False)
    described = [artifact.name for artifact in (*step.inputs, *step.outputs)]
    assert list(signature.parameters) == [*described, "params"]
    assert all(parameter.default is inspect.Parameter.empty for parameter in signature.parameters.values())
    for artifact in (*step.inputs, *step.outputs):
        kind = str(signature.parameters[artifact.name].annotation)
        assert ("None" in kind) == (artifact.optional and not artifact.many), artifact.name
        assert ("str" in kind) == artifact.remote != ("Path" in kind), artifact.name
        assert ("Sequence" in kind) == artifact.many and (artifact.positional or not artifact.many), artifact.name
    assert signature.parameters["params"].annotation in (step.params, step.params.__name__)


@pytest.mark.parametrize("step", ALL)
def test_name_module_section_and_summary_agree(step: Step) -> None:
    assert step.function.__module__ == f"cavmae.steps.{steps.module(step.name)}"
    assert step.name in yaml.safe_load(PARAMS.read_text())
    assert step.summary.endswith(".") and len(step.summary) < 120
    assert issubclass(step.params, Section)
    assert step.image in ("data", "train") and step.cpu >= 1 and step.memory_gb >= 1


@pytest.mark.parametrize("step", ALL)
def test_every_knob_of_params_yaml_is_a_field_and_every_field_a_knob_with_a_comment(step: Step) -> None:
    written = knobs(step.name, PARAMS)
    assert set(written) == set(fields(step.params))
    silent = [key for key, (_, comment) in written.items() if not comment]
    assert silent == []


@pytest.mark.parametrize("step", ALL)
def test_parameter_models_have_no_defaults_and_are_frozen(step: Step) -> None:
    assert [name for name, field in fields(step.params).items() if not field.is_required()] == []
    assert step.params.model_config.get("frozen") and step.params.model_config.get("extra") == "forbid"


def test_params_yaml_has_no_section_but_those_of_the_steps() -> None:
    assert tuple(yaml.safe_load(PARAMS.read_text())) == steps.NAMES


def test_steps_name_every_module_in_their_folder() -> None:
    modules = {path.stem for path in Path(steps.__path__[0]).glob("*.py")} - {"__init__", "step"}
    assert modules == set(map(steps.module, steps.NAMES))


def test_no_two_steps_write_the_same_place() -> None:
    places = [artifact.path for name in steps.NAMES for artifact in steps.load(name).outputs]
    assert len(places) == len(set(places))


def test_all_descriptions_load_without_heavy_libraries_in_less_than_a_second() -> None:
    heavy = [
        "torch",
        "torchaudio",
        "great_expectations",
        "sklearn",
        "scipy",
        "pandas",
        "pyarrow",
        "matplotlib",
        "av",
        "PIL",
        "numpy",
    ]
    code = "import sys\nfrom cavmae import steps\nfor name in steps.NAMES: steps.load(name)\n"
    code += f"print(*sorted(set({heavy}) & set(sys.modules)))"
    fastest = 99.0
    for _ in range(2):  # the first may read from a cold disk
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        fastest = min(fastest, time.monotonic() - started)
        assert done.stdout.strip() == ""
    assert fastest < 1.0
