"""Sending a package to Kubeflow once: a version of its pipeline, an experiment, a run."""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Refused, Unanswered
from pipelines.kubeflow import Json, Kubeflow
from pipelines.package import Package

_LOG = logging.getLogger(__name__)
_CONFLICT = 409
_LOOKS_S = (0, 2, 5)  # pauses before each look for a run that nobody confirmed


@dataclass(frozen=True)
class Uploaded:
    """Where a package stands in Kubeflow."""

    pipeline_id: str
    version_id: str

    def reference(self) -> dict[str, str]:
        """As runs and schedules name it."""
        return {"pipeline_id": self.pipeline_id, "pipeline_version_id": self.version_id}


def upload(api: Kubeflow, package: Package) -> Uploaded:
    """Make the package a version of its pipeline and return its ids; the same package is not uploaded twice."""
    name = package.pipeline
    what = f"CAV-MAE pipeline {name}"
    pipeline = _ensure(lambda: api.pipeline(name), lambda: api.create_pipeline(name, what), f"pipeline {name}")
    pipeline_id = _id(pipeline, "pipeline_id")
    version = _ensure(
        lambda: api.version(pipeline_id, package.version),
        lambda: api.upload_version(pipeline_id, package.version, package.path, package.description),
        f"version {package.version} of {name}",
    )
    return Uploaded(pipeline_id, _id(version, "pipeline_version_id"))


def experiment_id(api: Kubeflow, name: str) -> str:
    """Return the id of the experiment of that name, made where there is none; raises InputError for an archived one."""
    found = _ensure(lambda: api.experiment(name), lambda: api.create_experiment(name), f"experiment {name}")
    if found.get("storage_state") == "ARCHIVED":
        raise InputError(f"experiment {name!r} is archived; restore it in the UI, or name another with --experiment")
    return _id(found, "experiment_id")


def start_run(
    api: Kubeflow,
    uploaded: Uploaded,
    experiment: str,
    name: str | None,
    package: Package,
    values: Mapping[str, Any],
    notes: list[str],
) -> tuple[str, bool]:
    """Start a run and return its id, and whether it was there before.

    Kubeflow lets any number of runs have one name. Here a name stands for one run: a second start under it with the same version
    and parameters returns the first, one with others raises InputError. A start that nobody answered is looked for by its name,
    which is unique where none is given.
    """
    if name is not None and not name.strip():
        raise InputError("--run-name: must not be blank")
    if name is not None and (there := _same_run(api, name, uploaded, values)):
        return there, True
    name = name or f"{package.pipeline} {api.connection.now():%Y-%m-%d %H:%M:%S} {secrets.token_hex(3)}"
    run = {
        "display_name": name,
        "description": "; ".join([package.description, *notes]),
        "experiment_id": experiment,
        "pipeline_version_reference": uploaded.reference(),
        "runtime_config": {"parameters": dict(values)},
    }
    if package.service_account:
        run["service_account"] = package.service_account
    try:
        return _id(api.create_run(run), "run_id"), False
    except Unanswered as error:
        _LOG.warning("%s; looking whether the run was started", error)
        for pause_s in _LOOKS_S:
            api.connection.pause(pause_s)
            if there := _same_run(api, name, uploaded, values):
                return there, False
        raise StepFailed(f"{error}; no run {name!r} is there so far: submit again with --run-name {name!r}") from None


def _same_run(api: Kubeflow, name: str, uploaded: Uploaded, values: Mapping[str, Any]) -> str | None:
    """The id of the newest run of that name, where there is one; raises InputError where it is of something else."""
    runs = api.runs(1, name=name)
    if not runs:
        return None
    run_id = _id(runs[0], "run_id")
    if not same_work(runs[0], uploaded, values):
        raise InputError(
            f"--run-name {name!r}: a run of that name is there with another version or other parameters ({run_id}); name another"
        )
    return run_id


def same_work(found: Json, uploaded: Uploaded, values: Mapping[str, Any]) -> bool:
    """Whether a run or a schedule is of the same version and parameters. The API gives whole numbers back as it likes."""
    reference = found.get("pipeline_version_reference") or {}
    parameters = (found.get("runtime_config") or {}).get("parameters") or {}
    return reference.get("pipeline_version_id") == uploaded.version_id and parameters == dict(values)


def _ensure(find: Callable[[], Json | None], make: Callable[[], Json], what: str) -> Json:
    """What is there, else what is made. Where somebody else was faster, or no answer came, it is looked for again."""
    if (there := find()) is not None:
        return there
    try:
        return make()
    except Refused as error:
        if error.status != _CONFLICT or (there := find()) is None:
            raise
        return there
    except Unanswered as error:
        if (there := find()) is None:
            raise StepFailed(f"{error}; {what} is not there: run the command again") from None
        return there


def _id(found: Json, key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise StepFailed(f"Kubeflow answers without {key}")
    return value
