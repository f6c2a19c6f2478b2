"""What a step is: a typed function and its description, from which its command is built.

The Kubeflow component and the DVC stage of a step are written by hand and held against the same description by tests.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cavmae.params import Section


@dataclass(frozen=True)
class Artifact:
    """One file or folder that a step reads or writes; `path` is where it lies on a laptop, relative to the project.

    An optional one may be left out: the function then gets None. One that is not tracked is no DVC output, because it is
    different at every run. A positional one has no flag on the command line, and `path` is only its name there; with `many`
    it is a list, which is empty where the artifact is optional and left out. A remote one may also lie at s3://bucket/prefix:
    the function gets a str, as it was given.
    """

    name: str
    path: str
    help: str
    optional: bool = False
    tracked: bool = True
    positional: bool = False
    many: bool = False
    remote: bool = False

    def place(self, given: str | Path) -> str | Path:
        """Return a location as the function takes it."""
        return str(given) if self.remote else Path(given)


@dataclass(frozen=True)
class Step:
    """A step's description. `function` takes every input and output by name as a Path, remote ones as a str, and `params`.

    One that is not in the pipeline is no stage of dvc.yaml: a tool for the hand, or what only a Kubeflow pipeline does.
    """

    function: Callable[..., Any]
    params: type[Section]
    inputs: tuple[Artifact, ...]
    outputs: tuple[Artifact, ...]
    image: Literal["data", "train"]
    cpu: int
    memory_gb: int
    gpu: int = 0
    in_pipeline: bool = True
    command: str | None = None  # where the function's name is not the command's
    present: Callable[[Any, Any], str] | None = None  # what the terminal shows of the function's result

    @property
    def name(self) -> str:
        """The step's name: of its function, its command, its section of params.yaml, its stage and its component."""
        return self.command or self.function.__name__

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").splitlines()[0]

    def run(self, params: Section, paths: Mapping[str, Path | str | None]) -> Any:
        """Call the function with its paths and checked parameters."""
        kinds = {artifact.name: artifact for artifact in (*self.inputs, *self.outputs)}
        given = {
            name: kinds[name].place(path) if isinstance(path, str | Path) and name in kinds else path
            for name, path in paths.items()
        }
        return self.function(**given, params=params)
