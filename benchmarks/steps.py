"""Running steps from a measurement, with the parameters of params.yaml and some of them changed."""

from pathlib import Path
from typing import Any

from cavmae import steps
from cavmae.params import default_params_path, load_section


def run(name: str, overrides: dict[str, Any], **paths: Path | None) -> Any:
    """Run the step `name` on `paths`; `overrides` are `{key: value}` of its section. Return what its function returns."""
    step = steps.load(name)
    params = load_section(step.params, name, default_params_path(), [f"{key}={value}" for key, value in overrides.items()])
    return step.run(params, paths)
