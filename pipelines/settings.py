"""What a cluster needs to know beside the parameters of a run: one file, checked like params.yaml."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cavmae.errors import InputError
from cavmae.params import first_problem, read_yaml

DEFAULTS = Path(__file__).with_name("settings.yaml")
_QUANTITY = r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?"
_NAME = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?"
Name = Annotated[str, Field(pattern=rf"\A{_NAME}\z", max_length=253)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Images(_Group):
    """Which images the tasks run in."""

    data: Annotated[str, Field(min_length=1)]
    train: Annotated[str, Field(min_length=1)]
    pull_policy: Literal["IfNotPresent", "Always", "Never"]
    pull_secrets: list[Name]

    @field_validator("data", "train")
    @classmethod
    def _is_an_image(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", value, re.ASCII):
            raise ValueError("give repository, repository:tag or repository@sha256:digest")
        return value


class Storage(_Group):
    """Where large data lies, and how pods reach it."""

    store: str
    registry: str
    checkpoints: str
    reports: str
    endpoint: str
    region: str
    secret: Name
    claim: Annotated[str, Field(pattern=r"\A([a-z0-9]([-a-z0-9]*[a-z0-9])?)?\z", max_length=63)]
    mount: Annotated[str, Field(pattern=r"\A/[^\x00-\x1f]+\z")]


class Toleration(_Group):
    """As Kubernetes has it."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class _Place(_Group):
    node_selector: dict[str, str]
    tolerations: list[Toleration]
    retries: Annotated[int, Field(ge=0, le=100)]


class DataPlace(_Place):
    """Where tasks without torch run."""

    parallelism: Annotated[int, Field(ge=0)]


class TrainPlace(_Place):
    """Where tasks with torch run, and on how many GPUs the training ones do."""

    accelerator: Annotated[str, Field(min_length=1)]
    gpus: Annotated[int, Field(ge=0, le=1024)]
    nodes: Annotated[int, Field(ge=1, le=1024)]
    shm: Annotated[str, Field(pattern=rf"\A{_QUANTITY}\z")]
    runtime: Name


class Settings(_Group):
    """The settings file."""

    images: Images
    storage: Storage
    service_account: Name
    data: DataPlace
    train: TrainPlace

    @model_validator(mode="after")
    def _several_nodes_share_a_claim(self) -> "Settings":
        if self.train.nodes > 1 and not self.storage.claim:
            raise ValueError("train.nodes above 1 needs storage.claim: the nodes share inputs and outputs through it")
        return self


def read_settings(path: Path | None = None) -> Settings:
    """Return the settings in a file, over the defaults; raises InputError naming the key that is wrong."""
    document = read_yaml(DEFAULTS)
    if path is not None:
        document = _merged(document, read_yaml(path), path, "")
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{path or DEFAULTS}: {first_problem(error)}; pipelines/settings.yaml explains every key") from None


def _merged(below: dict[str, object], above: dict[str, object], path: Path, group: str) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        if key not in below:
            raise InputError(f"{path}: unknown key '{group}{key}'; known keys: {', '.join(sorted(map(str, below)))}")
        old = below[key]
        if isinstance(old, dict) and isinstance(value, dict) and key != "node_selector":
            merged[key] = _merged(old, value, path, f"{group}{key}.")
        else:
            merged[key] = value
    return merged
