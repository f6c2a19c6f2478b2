"""The life of one TrainJob: made or taken over, followed to its end, removed."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cavmae.errors import InputError, StepFailed
from components.trainjob.cluster import Cluster, own_pod
from components.trainjob.document import CONTENT
from components.trainjob.folder import JobFolder
from components.trainjob.nodes import Nodes
from components.trainjob.options import ClusterOptions

log = logging.getLogger(__name__)

_GONE_S = 600  # for a job that was deleted to vanish: its nodes may be writing a checkpoint
_ATTEMPTS = 3  # to create a job, should another of its name come up meanwhile


def start(
    cluster: Cluster, document: dict[str, Any], folder: JobFolder, inputs: Mapping[str, Path], options: ClusterOptions
) -> None:
    """Create the job from its document, or take over the one that an earlier try of this step has left running."""
    name = document["metadata"]["name"]
    for _ in range(_ATTEMPTS):
        there = cluster.find(name)
        if there is not None and _is_of_use(there, document):
            log.info("TrainJob %s is there already: this step follows it", name)
            if (owner := own_pod()) is not None:
                cluster.adopt(name, owner)
            return
        if there is not None:
            log.info("TrainJob %s of an earlier try is replaced", name)
            cluster.delete(name)
            _wait_until_gone(cluster, name, options)
        folder.fill(inputs)
        folder.touch()
        created = cluster.create(document)
        if created is not None:
            if "runtimePatches" not in created["spec"]:  # the server drops what it does not know
                raise InputError(
                    "the cluster's Kubeflow Trainer is older than 2.2 and ignores runtimePatches; install a newer one"
                )
            log.info("TrainJob %s created in namespace %s", name, cluster.namespace)
            return
    raise StepFailed(f"TrainJob {name} could not be created: again and again there was another one of its name")


def _is_of_use(job: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether a job that is there does what `document` wants done, and has not failed."""
    metadata = job["metadata"]
    same = metadata.get("annotations", {}).get(CONTENT) == document["metadata"]["annotations"][CONTENT]
    return same and "deletionTimestamp" not in metadata and "Failed" not in _conditions(job)


def _wait_until_gone(cluster: Cluster, name: str, options: ClusterOptions) -> None:
    until = time.monotonic() + _GONE_S
    while cluster.find(name) is not None:
        if time.monotonic() > until:
            raise StepFailed(f"TrainJob {name} of an earlier try was deleted and does not vanish; look at its pods")
        time.sleep(options.poll_s)


def follow(cluster: Cluster, name: str, step: str, folder: JobFolder, options: ClusterOptions) -> None:
    """Wait until the job is complete; raise what it failed of, or InputError where its input was wrong."""
    nodes = Nodes(cluster, name, step)
    suspended = False
    while True:
        folder.touch()
        job = cluster.find(name)
        if job is None:
            raise StepFailed(f"TrainJob {name} was deleted by somebody else while it ran")
        nodes.look()  # after the job, so that the last look sees the end of the log
        conditions = _conditions(job)
        if "Complete" in conditions:
            log.info("TrainJob %s is complete", name)
            return
        if "Failed" in conditions:
            endings = nodes.endings()
            wrong_input = any(ending.code == InputError.exit_code for ending in endings)
            raise (InputError if wrong_input else StepFailed)(
                "; ".join([f"TrainJob {name} failed", *map(str, endings), conditions["Failed"]])
            )
        if ("Suspended" in conditions) != suspended:
            suspended = not suspended
            log.info("TrainJob %s is %s", name, "suspended" if suspended else "no longer suspended")
        if nodes.stuck_s() > options.start_s:
            raise StepFailed(f"TrainJob {name} cannot start: {nodes.states()}")
        time.sleep(options.poll_s)


def _conditions(job: dict[str, Any]) -> dict[str, str]:
    """The conditions that hold, with the message of each."""
    found = job.get("status", {}).get("conditions", [])
    return {condition["type"]: condition.get("message", "") for condition in found if condition["status"] == "True"}


def remove(cluster: Cluster, name: str) -> None:
    """Delete the job; a cluster that does not let us must not hide why we came here."""
    try:
        cluster.delete(name)
    except (InputError, StepFailed) as error:
        log.warning("TrainJob %s could not be deleted: %s", name, error)
