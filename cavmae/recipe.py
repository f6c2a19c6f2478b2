"""What a recipe is: the overrides of params.yaml that lead to a published result, and the number that it must give.

A recipe is one YAML file. `params` holds its values for keys of params.yaml, by section; the rest says what is reproduced, from
which data and weights, by which commands. These are shown, and run by nobody but the reader.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cavmae import steps
from cavmae.params import Overlay, load_section, section_names

_PREPARING = ("ingest", "extract", "validate")
_MEASURING = ("evaluate", "retrieve")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if not line or not line.isprintable():
        raise ValueError("it must be text that can be shown, and not empty")
    return line


def _sections(value: Any, groups: int = 2) -> Any:
    """Sections hold values and groups of values: nothing deeper, no lists, and keys that can be shown."""
    if not isinstance(value, dict):
        raise ValueError("it must hold keys and values")
    for key, item in value.items():
        if not isinstance(key, str) or not key.isprintable():
            raise ValueError(f"{key!r} is no key")
        if isinstance(item, dict) and groups:
            _sections(item, groups - 1)
        elif item is not None and not isinstance(item, bool | int | float | str):
            raise ValueError(f"{key!r} must be a single value")
    return value


Text = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Result(_Strict):
    """A number that must come out: `metric` is its dotted path in a JSON file, or a column of the last row of a curve (.tsv).

    `why` gives the reason for the tolerance; or, where no number could be seen, why there is none and who has it.
    """

    metric: Text
    file: Text
    value: float | None
    tolerance: Annotated[float, Field(gt=0)] | None = None
    why: Text

    @model_validator(mode="after")
    def _both_or_none(self) -> "Result":
        if (self.value is None) != (self.tolerance is None):
            raise ValueError("value and tolerance are given together, or value is null")
        return self


class Data(_Strict):
    """A list that is needed: the published file's name, how many clips it names where that is known, and what it is for."""

    file: Text
    clips: Annotated[int, Field(ge=1)] | None = None
    use: Text


class Start(_Strict):
    """Weights to start from: what another recipe makes, a published file to import, or vision-MAE weights to adapt."""

    recipe: Name | None = None
    checkpoint: Text | None = None
    vision_mae: Text | None = None

    @model_validator(mode="after")
    def _something(self) -> "Start":
        if self.recipe is None and self.checkpoint is None and self.vision_mae is None:
            raise ValueError("name a recipe, a checkpoint or vision_mae weights")
        return self


class Recipe(_Strict):
    """One recipe.

    `source` says where its numbers and settings were published, `released` the file in which its own weights were, and
    `checked_by` which recipes measure its weights.
    """

    title: Text
    extends: Name | None = None
    results: list[Result] = []
    source: list[Text] = []
    data: list[Data] = []
    start: Start | None = None
    commands: list[Text] = []
    released: Text | None = None
    checked_by: list[Name] = []
    notes: list[Text] = []
    params: Annotated[dict[str, dict[str, Any]], BeforeValidator(_sections)] = {}
    path: Path = Field(default=Path(), exclude=True)  # the file that it was read from

    @property
    def shortcut(self) -> list[str]:
        """The commands that measure the released weights without any training; empty where nothing measures them."""
        if self.released is None or not any(_step(command) in _MEASURING for command in self.commands):
            return []
        before = [command for command in self.commands if _step(command) in _PREPARING]
        after = [command for command in self.commands if _step(command) in (*_MEASURING, "results")]
        taken = f"cavmae import weights/{self.released} --out models/{self.name}"
        if "finetune" in self.params:
            # a checkpoint says neither what its outputs are called nor which modalities it was trained on
            told = {
                "--labels-csv": self.params.get("ingest", {}).get("labels_csv"),
                "--mode": self.params["finetune"].get("mode"),
            }
            taken += "".join(f" {flag} {value}" for flag, value in told.items() if value is not None)
        return [*before, taken, *after]

    @property
    def name(self) -> str:
        """Its file's name without the ending."""
        return self.path.stem

    def overlay(self, step: str) -> Overlay | None:
        """What it sets for a step; None where that is nothing."""
        return Overlay(self.path, self.params[step]) if step in self.params else None

    def check(self, params: Path) -> None:
        """Raise InputError where a value is not one that its step takes, in any section that the file `params` has."""
        for name in section_names(params):
            if name in self.params:
                load_section(steps.load(name).params, name, params, overlay=self.overlay(name))


def _step(command: str) -> str:
    """The step that a command `cavmae STEP ...` runs."""
    return " ".join(command.split()[1:2])
