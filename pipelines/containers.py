"""Running a task's container for kfp's DockerRunner, in place of its own function.

Kfp 2.17 starts containers that remove themselves, and takes one that is gone before it could be asked for its exit code for a
success; so a step that fails fast may pass. Here the container is waited for first, and removed afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cavmae.errors import InputError, StepFailed

_STOP_S = 30  # what a step may take to write its checkpoint


def run_container(client: Any, image: str, command: Sequence[str], volumes: Mapping[str, Any], **options: Any) -> int:
    """Run a command in an image that is here, show its log as it comes, and return its exit code.

    Whatever ends this early (Ctrl-C) stops the container as well.
    """
    container = client.containers.create(image=image, command=list(command), volumes=dict(volumes), detach=True, **options)
    try:
        container.start()
        for line in container.logs(stream=True, follow=True):
            print(line.decode("utf-8", "replace"), end="")  # noqa: T201 - kfp shows what is printed here as the task's log
        return int(container.wait()["StatusCode"])
    except BaseException:
        container.stop(timeout=_STOP_S)
        raise
    finally:
        container.remove(force=True)


@contextmanager
def containers_waited_for() -> Iterator[None]:
    """Have kfp's DockerRunner use `run_container`."""
    from kfp.local import docker_task_handler

    original = docker_task_handler.run_docker_container
    docker_task_handler.run_docker_container = run_container
    try:
        yield
    finally:
        docker_task_handler.run_docker_container = original


def check_engine(images: Sequence[str]) -> None:
    """Raise StepFailed where no engine answers, and InputError where it does not have one of the images."""
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        client = docker.from_env()  # type: ignore[attr-defined]  # mypy sees our folder docker/, Python the library
    except DockerException as error:
        raise StepFailed(
            f"no container engine answers ({str(error).splitlines()[0][:200]}); start one, or set DOCKER_HOST"
        ) from None
    try:
        for image in images:
            try:
                client.images.get(image)
            except ImageNotFound:
                raise InputError(f"image {image} is not here; run `make images`, or name another in --settings") from None
    finally:
        client.close()
