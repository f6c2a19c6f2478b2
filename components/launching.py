"""A training step in several processes: on the GPUs of this machine, or of several by a TrainJob."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cavmae import steps
from cavmae.errors import InputError
from cavmae.params import Section, first_problem
from components.trainjob.options import ClusterOptions


class Launch(BaseModel):
    """How many processes start on each node, on how many nodes; `image` and `options` are for several nodes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: Annotated[int, Field(ge=1)]
    nodes: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    image: str = ""
    options: ClusterOptions | None = None

    @property
    def alone(self) -> bool:
        """Whether the step runs in this very process."""
        return self.processes == 1 and self.nodes == 1


def read_launch(text: str) -> Launch:
    """Return what the pipeline says as JSON; raises InputError where it is something else."""
    try:
        return Launch.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"launch: {first_problem(error)}; compile the pipeline again") from None


def launch(name: str, params: Section, paths: Mapping[str, Path], how: Launch) -> None:
    """Run a training step in the processes of `how`; raises InputError, StepFailed or Interrupted with the step's own words."""
    words = [f"--set={key}={json.dumps(value)}" for key, value in _leaves(params.model_dump(mode="json"))]
    if how.nodes == 1:
        from components.torchrun import run_processes

        places = [f"--{key.replace('_', '-')}={path}" for key, path in paths.items()]
        run_processes(name, [*words, *places], how.processes)
        return
    from components.trainjob.run import run_trainjob

    inputs = {item.name: paths[item.name] for item in steps.load(name).inputs}
    outputs = {item.name: paths[item.name] for item in steps.load(name).outputs}
    options = how.options or ClusterOptions()
    run_trainjob(name, words, inputs, outputs, image=how.image, nodes=how.nodes, gpus=how.gpus, options=options)


def _leaves(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{group}{key}.")
        else:
            yield f"{group}{key}", value
