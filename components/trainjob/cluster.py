"""The cluster as a TrainJob's follower sees it: a few calls, each patient with a server that stumbles, each error in one line.

The client is the plain one of Kubernetes, which kfp brings along. The Kubeflow SDK (0.5.0) would choose the job's name itself, so
that a retried step could not find it again, and takes neither owner nor annotations; it also writes 4 GPUs as 4.0.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cavmae.errors import InputError, StepFailed
from components.trainjob.document import GROUP, NODE, PLURAL, VERSION, Owner

log = logging.getLogger(__name__)

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_RUN_LABEL = "pipeline/runid"  # Kubeflow Pipelines puts it on every pod of a run
_JOBS = f"{PLURAL}.{GROUP}"
_OPTIONS = {"_request_timeout": (5, 30)}  # seconds to connect, to answer
_NO_LOG = (400, 404, *range(500, 600))  # these may speak of the pod's machine alone
_FIRST_LINES = 1000  # of a log that nobody has read yet


class ClusterSilent(StepFailed):
    """The API server did not answer for minutes; what runs in the cluster may be in good order."""


class Cluster:
    """TrainJobs and their pods in one namespace; raises InputError where the cluster refuses, ClusterSilent without an answer."""

    def __init__(self, client: Any, namespace: str, patience_s: float = 300, pause_s: float = 5) -> None:
        from kubernetes.client import CoreV1Api, CustomObjectsApi

        self.namespace = namespace
        self._jobs, self._core = CustomObjectsApi(client), CoreV1Api(client)
        self._patience_s, self._pause_s = patience_s, pause_s

    def create(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Create a TrainJob and return it as the server has it; None where one of this name is there already."""
        job: dict[str, Any] | None = self._call(
            "create", lambda: self._jobs.create_namespaced_custom_object(*self._place(), document, **_OPTIONS), 409
        )
        return job

    def find(self, name: str) -> dict[str, Any] | None:
        """Return the TrainJob `name` as it stands, or None."""
        job: dict[str, Any] | None = self._call(
            "get", lambda: self._jobs.get_namespaced_custom_object(*self._place(), name, **_OPTIONS), 404
        )
        return job

    def adopt(self, name: str, owner: Owner) -> None:
        """Make `owner` the pod whose end is the TrainJob's end. A job that is not there any more is no error."""
        patch = {"metadata": {"ownerReferences": [owner.reference()]}}
        self._call("patch", lambda: self._jobs.patch_namespaced_custom_object(*self._place(), name, patch, **_OPTIONS), 404)

    def delete(self, name: str) -> None:
        """Delete the TrainJob `name`; it stays visible until its pods are gone. One that is not there is no error."""
        how = {"propagationPolicy": "Foreground"}
        self._call("delete", lambda: self._jobs.delete_namespaced_custom_object(*self._place(), name, body=how, **_OPTIONS), 404)

    def pods(self, name: str) -> list[Any]:
        """Return the pods of the TrainJob `name`, the oldest first."""
        chosen = f"jobset.sigs.k8s.io/jobset-name={name}"
        found = self._call(
            "list", lambda: self._core.list_namespaced_pod(self.namespace, label_selector=chosen, **_OPTIONS), what="pods"
        )
        return sorted(found.items, key=lambda pod: pod.metadata.creation_timestamp)

    def log(self, pod: str, since_s: int | None = None) -> list[str]:
        """Return lines of a node's log, each with its time in front: of the last `since_s` seconds, or the last thousand.

        A pod that has not started or is gone has none, nor has one on a machine that does not answer.
        """
        extent = {"tail_lines": _FIRST_LINES} if since_s is None else {"since_seconds": since_s}
        text = self._call(
            "get",
            lambda: self._core.read_namespaced_pod_log(
                pod, self.namespace, container=NODE, timestamps=True, _preload_content=False, **extent, **_OPTIONS
            ).data.decode(errors="replace"),
            *_NO_LOG,
            what="pods/log",
        )
        return [line for line in (text or "").split("\n") if line]

    def run_id(self, pod: str) -> str | None:
        """Return the id of the pipeline's run that a pod belongs to."""
        found = self._call("get", lambda: self._core.read_namespaced_pod(pod, self.namespace, **_OPTIONS), what="pods")
        labels: dict[str, str] = found.metadata.labels or {}
        return labels.get(_RUN_LABEL)

    def _place(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    def _call(self, verb: str, call: Callable[[], Any], *absent: int, what: str = _JOBS) -> Any:
        """Return what `call` returns, or None for a status in `absent`; wait and try again while the server has trouble."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        until = time.monotonic() + self._patience_s
        while True:
            try:
                return call()
            except ApiException as error:
                message = _message(error)
                if error.status == 404 and message is None and what == _JOBS:
                    raise InputError(
                        f"the cluster knows no {what}; install Kubeflow Trainer 2.2 or newer (docs/cluster.md), or set nodes to 1"
                    ) from None
                if error.status in absent:
                    return None
                reason = f"{verb} {what} in namespace {self.namespace}: {message or error.reason} ({error.status})"
                if error.status not in (0, 429) and error.status < 500:
                    advice = "; apply manifests/base, or ask for its Role" if "cannot" in reason and error.status == 403 else ""
                    raise InputError(reason + advice) from None
            except HTTPError as error:
                reason = f"{verb} {what} in namespace {self.namespace}: {' '.join(str(error).split())}"
            if time.monotonic() > until:
                raise ClusterSilent(f"the cluster's API server does not answer: {reason}")
            log.warning("the cluster's API server does not answer, trying again: %s", reason)
            time.sleep(self._pause_s)


def connect() -> tuple[Any, str]:
    """Return a client for the cluster this runs in, or that of KUBECONFIG, and the namespace; without one, raise InputError."""
    from kubernetes import client, config

    settings = client.Configuration()
    settings.retries = False  # `Cluster` knows better what to try again, and for how long
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(client_configuration=settings)
            return client.ApiClient(settings), _NAMESPACE.read_text(encoding="utf-8").strip()
        place = os.environ.get("KUBECONFIG")
        config.load_kube_config(config_file=place, client_configuration=settings)
        _, context = config.list_kube_config_contexts(config_file=place)
        return client.ApiClient(settings), context["context"].get("namespace", "default")
    except (config.ConfigException, OSError) as error:
        raise InputError(f"several nodes need a Kubernetes cluster, and none can be reached from here: {error}") from None


def own_pod() -> Owner | None:
    """Return the pod that this step runs in, as Kubeflow Pipelines tells it; None outside a cluster."""
    name, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    return Owner(name, uid) if name and uid else None


def _message(error: Any) -> str | None:
    """What the server says, in one line; None where it does not speak as Kubernetes does, as for a kind that it does not know."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
    try:
        document = json.loads(body or "")
    except ValueError:
        return None
    message = document.get("message") if isinstance(document, dict) else None
    return " ".join(str(message).split()) if message else None
