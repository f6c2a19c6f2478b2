"""Where tasks run and with what: a step's description and the settings file, given to a kfp task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kfp import kubernetes

from cavmae import steps
from components.launching import Launch
from components.trainjob.options import ClusterOptions, SecretKey, Toleration
from pipelines.settings import DataPlace, Settings, TrainPlace

_SECRET = {"AWS_ACCESS_KEY_ID": "CAVMAE_S3_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY": "CAVMAE_S3_SECRET_ACCESS_KEY"}
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - Linux's own name for it
_TRAINING = ("pretrain", "finetune")
# Argo counts it from the start of the first try, and ends a later try when it is over: it has to hold the longest training
_RETRIED_FOR = f"{60 * 24 * 3600}s"


@dataclass(frozen=True)
class Site:
    """The settings that a pipeline is compiled for, and its steps' defaults as JSON."""

    settings: Settings
    params: str

    @property
    def launch(self) -> str:
        """How many processes a training task starts on how many nodes, for the component, as JSON."""
        train, storage = self.settings.train, self.settings.storage
        if train.nodes == 1:
            return Launch(processes=max(1, train.gpus)).model_dump_json(exclude_defaults=True)
        secrets = {key: SecretKey(secret=storage.secret, key=key) for key in _SECRET} if storage.secret else {}
        options = ClusterOptions(
            runtime=train.runtime,
            shared_claim=storage.claim,
            shared_path=PurePosixPath(storage.mount),
            gpu_resource=train.accelerator,
            shm=train.shm,
            node_selector=train.node_selector,
            tolerations=tuple(Toleration.model_validate(one.model_dump()) for one in train.tolerations),
            pull_secrets=tuple(self.settings.images.pull_secrets),
            secret_env=secrets,
        )
        many = Launch(
            processes=max(1, train.gpus), nodes=train.nodes, gpus=train.gpus, image=self.settings.images.train, options=options
        )
        return many.model_dump_json(exclude_defaults=True)

    def place(self, task: Any, step: str | None = None, name: str | None = None, cached: bool = True) -> Any:
        """Give a task its image, resources, secrets, volumes, nodes and retries, and a name for the graph; return it.

        `step` is the step that it runs; a task without one is a small one beside the steps.
        """
        description = steps.load(step) if step else None
        torch = description is not None and description.image == "train"
        place: DataPlace | TrainPlace = self.settings.train if torch else self.settings.data
        image = self.settings.images.train if torch else self.settings.images.data
        task.set_container_image(image).set_caching_options(cached)
        if name:
            task.set_display_name(name)
        gpus = self._gpus(step, description.gpu if description else 0)
        shares = max(1, gpus)  # of a node's processors and memory, one for each GPU
        follows = step in _TRAINING and self.settings.train.nodes > 1  # a TrainJob, whose nodes do the work
        cpu, memory = (1, 2) if description is None or follows else (description.cpu * shares, description.memory_gb * shares)
        task.set_cpu_request(str(cpu)).set_memory_request(f"{memory}G").set_memory_limit(f"{memory}G")
        if gpus:
            task.set_accelerator_type(self.settings.train.accelerator).set_accelerator_limit(gpus)
        if step in _TRAINING:
            kubernetes.empty_dir_mount(
                task, volume_name="dshm", mount_path=_SHARED_MEMORY, medium="Memory", size_limit=self.settings.train.shm
            )
        if place.retries:
            task.set_retry(place.retries, backoff_duration="60s", backoff_factor=1.0, backoff_max_duration=_RETRIED_FOR)
        self._environment(task, step, image)
        self._nodes(task, place)
        return task

    def _gpus(self, step: str | None, wanted: int) -> int:
        """A training task gets the GPUs of the settings, unless a TrainJob has them; another that wants one gets one."""
        train = self.settings.train
        if step in _TRAINING:
            return train.gpus if train.nodes == 1 else 0
        return min(wanted, train.gpus)

    def _environment(self, task: Any, step: str | None, image: str) -> None:
        storage = self.settings.storage
        for name, value in (("CAVMAE_S3_ENDPOINT", storage.endpoint), ("CAVMAE_S3_REGION", storage.region)):
            if value:
                task.set_env_variable(name, value)
        if step in _TRAINING and storage.checkpoints:
            task.set_env_variable("CAVMAE_CHECKPOINTS", storage.checkpoints)
        if "@" in image:
            task.set_env_variable("CAVMAE_IMAGE_DIGEST", image.partition("@")[2])
        if storage.secret:
            kubernetes.use_secret_as_env(task, secret_name=storage.secret, secret_key_to_env=_SECRET)
        if storage.claim:
            kubernetes.mount_pvc(task, pvc_name=storage.claim, mount_path=storage.mount)

    def _nodes(self, task: Any, place: DataPlace | TrainPlace) -> None:
        images = self.settings.images
        kubernetes.set_image_pull_policy(task, images.pull_policy)
        if images.pull_secrets:
            kubernetes.set_image_pull_secrets(task, images.pull_secrets)
        for key, value in place.node_selector.items():
            kubernetes.add_node_selector(task, label_key=key, label_value=value)
        for one in place.tolerations:
            kubernetes.add_toleration(task, **one.model_dump(exclude_none=True))


def with_tag(settings: Settings, tag: Callable[[], str]) -> Settings:
    """Return the settings with `tag()` on images that have neither a tag nor a digest; where all have one it is not called."""
    images = settings.images
    tagged = {
        kind: image if "@" in image or ":" in Path(image).name else f"{image}:{tag()}"
        for kind, image in (("data", images.data), ("train", images.train))
    }
    return settings.model_copy(update={"images": images.model_copy(update=tagged)})
