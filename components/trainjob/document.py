"""The TrainJob as a document: fields of `trainer.kubeflow.org/v1alpha1` as of Kubeflow Trainer 2.2, which has runtimePatches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cavmae.errors import InputError
from cavmae.steps import Step
from cavmae.storage import sha256_json
from components.trainjob.options import ClusterOptions

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
NODE = "node"  # of the replicated job and of its container in every torch runtime
_MOST_WORDS = 128
CONTENT = "cavmae.pipelines/content"  # annotation: hash of the specification


@dataclass(frozen=True)
class Owner:
    """The pod that follows a TrainJob; when Kubernetes removes the pod, it removes the job."""

    name: str
    uid: str

    def reference(self) -> dict[str, str]:
        """The entry for `metadata.ownerReferences`."""
        return {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}


def trainjob_document(
    name: str,
    step: Step,
    arguments: Sequence[str],
    *,
    image: str,
    nodes: int,
    gpus: int,
    env: Mapping[str, str],
    labels: Mapping[str, str],
    options: ClusterOptions,
    owner: Owner | None,
) -> dict[str, Any]:
    """Return the TrainJob that runs the step on `nodes` nodes with `gpus` GPUs each, one process a GPU (one a node without).

    Raises InputError where the words of the command are more than a TrainJob takes.
    """
    if len(arguments) >= _MOST_WORDS:
        raise InputError(f"{step.name}: {len(arguments)} words of arguments; a TrainJob takes fewer than {_MOST_WORDS}")
    spec = {
        "runtimeRef": {"apiGroup": GROUP, "kind": options.runtime_kind, "name": options.runtime},
        "trainer": {
            "image": image,
            "command": ["python", "-m", "components.torchrun"],
            "args": [_literal(word) for word in (step.name, *arguments)],
            "numNodes": nodes,
            "numProcPerNode": max(1, gpus),
            "resourcesPerNode": _resources(step, gpus, options),
            "env": _environment({**env, **options.env}, options),
        },
        "runtimePatches": [{"manager": "cavmae.pipelines/step", "trainingRuntimeSpec": {"template": _patch(options)}}],
    }
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {**options.labels, **labels},
        "annotations": {CONTENT: sha256_json(spec)[:16]},
    }
    if owner is not None:
        metadata["ownerReferences"] = [owner.reference()]
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": metadata, "spec": spec}


def _literal(text: str) -> str:
    """Text that Kubernetes leaves as it is: it would put variables, secrets among them, in the place of `$(NAME)`."""
    return text.replace("$", "$$")


def _resources(step: Step, gpus: int, options: ClusterOptions) -> dict[str, dict[str, str]]:
    # quantities are text: as numbers, some clients write 4 GPUs as 4.0
    share = max(1, gpus)
    needed = {"cpu": options.cpu or str(step.cpu * share), "memory": options.memory or f"{step.memory_gb * share}Gi"}
    devices = {options.gpu_resource: str(gpus)} if gpus else {}
    return {"requests": {**needed, **devices}, "limits": {"memory": needed["memory"], **devices}}


def _environment(env: Mapping[str, str], options: ClusterOptions) -> list[dict[str, Any]]:
    plain = [{"name": name, "value": _literal(value)} for name, value in sorted(env.items()) if name not in options.secret_env]
    secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": source.secret, "key": source.key}}}
        for name, source in sorted(options.secret_env.items())
    ]
    return [*plain, *secret]


def _patch(options: ClusterOptions) -> dict[str, Any]:
    """What the job lays over its runtime's pods; variables are not allowed here, they belong to the trainer."""
    volumes: list[dict[str, Any]] = [{"name": "shared", "persistentVolumeClaim": {"claimName": options.shared_claim}}]
    mounts = [{"name": "shared", "mountPath": str(options.shared_path)}]
    if options.shm is not None:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": options.shm}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    pod: dict[str, Any] = {
        "volumes": volumes,
        "containers": [{"name": NODE, "volumeMounts": mounts}],
    }
    if options.node_selector:
        pod["nodeSelector"] = options.node_selector
    if options.tolerations:
        pod["tolerations"] = [toleration.model_dump(exclude_none=True, by_alias=True) for toleration in options.tolerations]
    if options.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in options.pull_secrets]
    if options.service_account is not None:
        pod["serviceAccountName"] = options.service_account
    return {"spec": {"replicatedJobs": [{"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}]}}
