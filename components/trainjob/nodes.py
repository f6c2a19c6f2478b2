"""What the nodes of a TrainJob are doing: their states in words, how they ended, and the first node's log."""

import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.trainjob.cluster import Cluster

log = logging.getLogger(__name__)

_INDEX = "batch.kubernetes.io/job-completion-index"
_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
_OVERLAP_S = 10  # of two reads of a log: clocks differ, and lines come late


@dataclass(frozen=True)
class Ending:
    """How one node ended badly: `code` is None where it could not say so itself, as when its machine was taken away."""

    node: int
    pod: str
    attempt: int
    code: int | None
    message: str

    def __str__(self) -> str:
        how = "was taken away" if self.code is None else f"exit code {self.code}"
        return f"node {self.node} (pod {self.pod}) {how}: {self.message}"


class Nodes:
    """Looks at the pods of one TrainJob again and again; remembers how those ended that the cluster removes."""

    def __init__(self, cluster: Cluster, job: str, step: str) -> None:
        self._cluster, self._job, self._prefix = cluster, job, f"cavmae {step}: "
        self._states: dict[int, str] = {}
        self._endings: dict[str, Ending] = {}
        self._stuck_since: float | None = None
        self._log = _Log(cluster)

    def look(self) -> None:
        """Log what has changed since the last look, write what the first node has printed since, and note bad endings."""
        pods = self._cluster.pods(self._job)
        for pod in pods:
            node, state = _number(pod, _INDEX), _state(pod)
            if self._states.get(node) != state:
                self._states[node] = state
                log.info("%s: node %d: %s", self._job, node, state)
            if pod.status.phase == "Failed" and pod.metadata.uid not in self._endings:
                self._endings[pod.metadata.uid] = self._ending(pod)
        first = [pod for pod in pods if _number(pod, _INDEX) == 0]
        if first:
            self._log.write(first[-1].metadata.name)
        stuck = any(_waiting(pod) for pod in pods)
        self._stuck_since = (self._stuck_since or time.monotonic()) if stuck else None

    def stuck_s(self) -> float:
        """For how many seconds some node could not start for a reason that waiting does not mend."""
        return 0.0 if self._stuck_since is None else time.monotonic() - self._stuck_since

    def states(self) -> str:
        """The state of every node, in one line."""
        return "; ".join(f"node {node}: {state}" for node, state in sorted(self._states.items())) or "no pods"

    def endings(self) -> Sequence[Ending]:
        """How nodes ended badly in the job's last attempt, as far as is known, by number."""
        last = max((ending.attempt for ending in self._endings.values()), default=0)
        return sorted((ending for ending in self._endings.values() if ending.attempt == last), key=lambda ending: ending.node)

    def _ending(self, pod: Any) -> Ending:
        who = _number(pod, _INDEX), pod.metadata.name, _number(pod, _ATTEMPT)
        ended = [status.state.terminated for status in pod.status.container_statuses or [] if status.state.terminated]
        if not ended:
            words = " ".join(filter(None, (pod.status.reason, pod.status.message)))
            return Ending(*who, None, words or "its pod failed without a reason")
        lines = (ended[0].message or "").splitlines() or [line.partition(" ")[2] for line in self._cluster.log(pod.metadata.name)]
        own = [line.removeprefix(self._prefix) for line in lines if line.startswith(self._prefix)]
        # a reason of its own is Kubernetes': OOMKilled, DeadlineExceeded
        reason = ended[0].reason if ended[0].reason != "Error" else None
        said = own or list(filter(None, (reason,))) or [line for line in lines if line.strip()] or ["it said nothing"]
        return Ending(*who, ended[0].exit_code, said[-1].strip())


class _Log:
    """Writes what a pod prints, once; another pod's log begins anew.

    It is asked for again and again instead of being held open: a connection of days breaks, this does not.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pod: str | None = None
        self._read_at = 0.0
        self._written: set[str] = set()

    def write(self, pod: str) -> None:
        now = time.monotonic()
        since = math.ceil(now - self._read_at) + _OVERLAP_S if pod == self._pod and self._written else None
        lines = self._cluster.log(pod, since)
        for line in lines:
            if line not in self._written:
                sys.stdout.write(line.partition(" ")[2] + "\n")
        sys.stdout.flush()
        if lines:
            self._pod, self._read_at, self._written = pod, now, set(lines)


def _number(pod: Any, label: str) -> int:
    return int((pod.metadata.labels or {}).get(label, 0))


def _waiting(pod: Any) -> str | None:
    """Why a container cannot start, where the reason does not pass by itself; a pod without a machine waits for good reasons."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting
        if waiting is not None and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting.reason}: {waiting.message}" if waiting.message else str(waiting.reason)
    return None


def _state(pod: Any) -> str:
    if pod.metadata.deletion_timestamp is not None:
        return "stopping"
    if (reason := _waiting(pod)) is not None:
        return f"cannot start: {reason}"
    phase = str(pod.status.phase)
    if phase == "Pending":
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                return f"waits for a machine: {condition.message}"
    return f"runs on {pod.spec.node_name}" if phase == "Running" and pod.spec.node_name else phase.lower()
