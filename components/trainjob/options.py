"""What a cluster needs to know of a TrainJob and a pipeline's author cannot: names of volumes, secrets, nodes."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def _kubernetes_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise ValueError("is no name of a Kubernetes object: lower case letters, digits, - and .")
    return name


def _absolute(path: PurePosixPath) -> PurePosixPath:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path")
    return path


Name = Annotated[str, AfterValidator(_kubernetes_name)]
Quantity = Annotated[str, Field(pattern=r"\A[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?\z")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Toleration(_Model):
    """Lets pods onto nodes with a taint; the fields are those of Kubernetes."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, serialization_alias="tolerationSeconds")


class SecretKey(_Model):
    """One entry of a Secret."""

    secret: Name
    key: str


class ClusterOptions(_Model):
    """Where and how the nodes of a TrainJob run. The defaults are the names in `manifests/base`."""

    runtime: Name = "cavmae-torch"  # training runtime that the job extends; a stock one for torch does as well
    runtime_kind: Literal["TrainingRuntime", "ClusterTrainingRuntime"] = "TrainingRuntime"
    shared_claim: Name = "cavmae-shared"  # PersistentVolumeClaim, ReadWriteMany, mounted in the step's own pod and in all nodes
    shared_path: Annotated[PurePosixPath, AfterValidator(_absolute)] = PurePosixPath("/cavmae")  # where, in both
    cpu: Quantity | None = None  # of each node; null: what the step's description says, for each GPU
    memory: Quantity | None = None  # likewise, for example 64Gi
    gpu_resource: str = "nvidia.com/gpu"
    shm: Quantity | None = "8Gi"  # memory-backed /dev/shm of each node; null: what the runtime has
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    pull_secrets: tuple[Name, ...] = ()
    service_account: Name | None = None  # of the nodes; null: the runtime's
    env: dict[str, str] = {}  # nothing secret: it can be read in the TrainJob
    secret_env: dict[str, SecretKey] = {}  # variables whose values stand in Secrets
    labels: dict[str, str] = {}  # of the TrainJob, for example Kueue's queue name
    start_s: float = Field(default=600, gt=0)  # how long a node may fail to pull its image or to mount its volumes
    poll_s: float = Field(default=5, gt=0)  # between two looks at the job

    @model_validator(mode="after")
    def _one_source_for_a_variable(self) -> "ClusterOptions":
        if both := self.env.keys() & self.secret_env.keys():
            raise ValueError(f"{sorted(both)[0]} stands in env and in secret_env")
        return self
