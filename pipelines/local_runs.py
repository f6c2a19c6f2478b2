"""`run`: a pipeline to its end on this machine, its tasks as processes or in containers."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from cavmae.errors import InputError, StepFailed
from pipelines.containers import check_engine, containers_waited_for
from pipelines.loops import loops_given_what_they_ask_for
from pipelines.settings import Settings
from pipelines.task_log import words_of_the_steps

log = logging.getLogger(__name__)
Runner = Literal["subprocess", "docker"]
_IMAGE_USER = 1000
_READ = ("source", "model", "checkpoint")  # fields that may name something on this machine, which containers then see
_WRITTEN = ("store", "registry")


def local_settings(settings: Settings, work: Path) -> Settings:
    """Return the settings without what only a cluster has; shards and the registry lie below `work` where they name no place."""
    places = {
        "store": settings.storage.store or str(work / "store"),
        "registry": settings.storage.registry or str(work / "registry"),
        "checkpoints": settings.storage.checkpoints or str(work / "checkpoints"),
        "reports": settings.storage.reports or str(work / "reports"),
        "secret": "",
        "claim": "",
    }
    return settings.model_copy(
        update={
            "storage": settings.storage.model_copy(update=places),
            "data": settings.data.model_copy(update={"retries": 0, "parallelism": 1}),
            "train": settings.train.model_copy(update={"retries": 0, "gpus": 0, "nodes": 1}),
        }
    )


def run_here(
    pipeline: Callable[..., Any],
    name: str,
    arguments: Mapping[str, Any],
    runner: Runner,
    settings: Settings,
    work: Path,
    cached: bool = True,
    seen: Sequence[Path] = (),
) -> Path:
    """Run a pipeline that was built with `local_settings`, and return the folder of its artifacts.

    `arguments` are the values of all fields of its form; containers also see the folders `seen`, which they cannot write to.
    Raises StepFailed where a task failed, and InputError where what it needs is not here.
    """
    from kfp import local

    arguments = {name: absolute(value) if name in (*_READ, *_WRITTEN) else value for name, value in arguments.items()}
    root = work / "runs"
    for folder in (root, work / "cache", work / "steps", *map(Path, _places(arguments, settings))):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made a folder to write to ({error.strerror})") from None
    before = set(root.iterdir())
    if runner == "docker":
        check_engine([settings.images.data, settings.images.train])
    engine = _docker_runner(arguments, settings, work, seen) if runner == "docker" else local.SubprocessRunner(use_venv=False)
    local.init(engine, pipeline_root=str(root), raise_on_error=True, enable_caching=cached, cache_root=str(work / "cache"))
    with words_of_the_steps() as words, containers_waited_for(), loops_given_what_they_ask_for(), _steps_see(work):
        try:
            pipeline(**arguments)
        except RuntimeError as error:
            raise StepFailed(f"{name}: {words.complaint or _plain(str(error))}") from None
    made = sorted(set(root.iterdir()) - before)
    if not made:
        raise StepFailed(f"{name}: nothing was run")
    return made[-1]


def absolute(value: Any) -> Any:
    """Return a path of this machine as an absolute one: containers have another current folder, and the cache another run's."""
    if not isinstance(value, str) or value in ("", "sample") or "://" in value:
        return value
    return os.path.abspath(Path(value).expanduser())


def _places(arguments: Mapping[str, Any], settings: Settings) -> list[str]:
    """The folders on this machine that tasks write to beside their artifacts."""
    storage = settings.storage
    given = [str(arguments.get(name) or getattr(storage, name)) for name in _WRITTEN]
    return [place for place in (*given, storage.checkpoints, storage.reports) if place and "://" not in place]


@contextmanager
def _steps_see(work: Path) -> Iterator[None]:
    """Environment of steps that run as processes."""
    before = dict(os.environ)
    os.environ.setdefault("CAVMAE_WORK", str(work / "steps"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _docker_runner(arguments: Mapping[str, Any], settings: Settings, work: Path, seen: Sequence[Path]) -> Any:
    """A DockerRunner whose containers see the work folder and what the arguments name, at the same paths."""
    from docker.types import Mount
    from kfp import local

    written = {str(work), *(os.path.abspath(place) for place in _places(arguments, settings))}
    read = {os.path.abspath(str(arguments[name])) for name in _READ if arguments.get(name) and Path(arguments[name]).exists()}
    outside = sorted(place for place in written if not Path(place).is_relative_to(work))
    read |= {os.path.abspath(place) for place in seen}
    mounts = [Mount(target=place, source=place, type="bind") for place in (str(work), *outside)]
    mounts += [Mount(target=place, source=place, type="bind", read_only=True) for place in sorted(read - written)]
    user = os.getuid() or _IMAGE_USER
    if os.getuid() == 0:
        for place in (work, *work.iterdir(), *map(Path, outside)):
            os.chown(place, _IMAGE_USER, _IMAGE_USER)
    passed = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    passed["CAVMAE_WORK"] = str(work / "steps")
    return local.DockerRunner(
        network_mode="host",
        shm_size="1g",
        mounts=mounts,
        user=str(user),
        environment=passed,
        tmpfs={"/tmp": "exec"},  # noqa: S108 - the container's own
        read_only=True,
    )


def _plain(text: str) -> str:
    """Without the colours that kfp puts into its messages."""
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


def checked_work(folder: Path, runner: Runner) -> Path:
    """Return the absolute path of a work folder; raises InputError for one that containers cannot be given."""
    work = folder.expanduser().absolute()
    if runner == "docker" and ":" in str(work):
        raise InputError(f"--work {work}: containers cannot be given a folder with a colon in its path; name another")
    return work


def default_work() -> Path:
    """Where runs, their cache, shards and the local registry lie: below CAVMAE_WORK, or `.cavmae` here."""
    from cavmae.storage import work_folder

    return work_folder("pipelines")
