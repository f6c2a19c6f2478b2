"""From params.yaml and settings to a pipeline, and to the file that Kubeflow takes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from kfp import compiler, dsl

from cavmae.params import default_params_path
from cavmae.storage import write_atomic
from components.settling import check_parameters
from pipelines import finetuning, pretraining, retraining
from pipelines.form import Field, Form, form_of, sections, with_form
from pipelines.settings import Settings
from pipelines.site import Site

_MODULES: dict[str, ModuleType] = {module.NAME: module for module in (pretraining, finetuning, retraining)}
NAMES = tuple(_MODULES)


def function_of(name: str, settings: Settings, params: Path | None = None) -> Callable[..., None]:
    """Return the function of the pipeline `name`, with its form; raises InputError where params.yaml does not fit it."""
    module = _MODULES[name]
    path = params or default_params_path()
    function: Callable[..., None] = module.define(Site(settings, sections(module.STEPS, path)))
    with_form(function, fields(name, settings, path))
    return function


def fields(name: str, settings: Settings, params: Path) -> dict[str, Field]:
    """Return the fields of a pipeline's form."""
    module = _MODULES[name]
    return form_of(module.define(Site(settings, "{}")), module.KNOBS, params, settings)


def check_values(name: str, values: Mapping[str, Any], params: Path | None = None) -> None:
    """Raise InputError where the fields of a form, all of which are given, do not fit the parameters of the pipeline's steps."""
    module = _MODULES[name]
    content = json.loads(sections(module.STEPS, params or default_params_path()))
    form = Form(values)
    check_parameters(content, form.lines(module.KNOBS), str(values["overrides"]), form.texts())


def build(name: str, settings: Settings, params: Path | None = None) -> Any:
    """Return the kfp pipeline `name`; raises InputError where params.yaml or the settings do not fit it."""
    function = function_of(name, settings, params)
    description = (function.__doc__ or "").split("\n\n")[0]
    return dsl.pipeline(name=name, description=description)(function)


def compile_pipeline(name: str, out: Path, settings: Settings, params: Path | None = None) -> Path:
    """Write the pipeline `name` to `<out>/<name>.yaml` and return that path. Equal input gives equal bytes."""
    path = out / f"{name}.yaml"
    with write_atomic(path) as partial:
        named = partial.with_name(f"{partial.name}.yaml")  # kfp's compiler goes by the ending
        compiler.Compiler().compile(build(name, settings, params), str(named))
        named.replace(partial)
    return path
