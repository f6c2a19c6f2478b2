"""Runs in Kubeflow: what state they and their tasks are in, waiting for their end, cancelling them."""

import logging
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Refused, one_line
from pipelines.kubeflow import Json, Kubeflow

_LOG = logging.getLogger(__name__)
FINAL = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
GOOD = ("SUCCEEDED", "SKIPPED")
_PATIENCE_S = 900  # for how long an API that fails is asked again while a run is waited for
_LOGS_READ = 3
_LOG_LINES = 5
_LOG_END = 64 << 10
_POD_TEMPLATE = "system-container-impl"  # what Kubeflow calls the part of a task that runs the component


@dataclass(frozen=True)
class Task:
    """One task of a run: its name in the graph, state, times as the API tells them, and what went wrong."""

    name: str
    state: str
    started: str
    finished: str
    error: str


@dataclass(frozen=True)
class Run:
    """A run as a person asks for it. `logs` holds the last lines of pods that failed, where the API lets them be read."""

    run_id: str
    name: str
    state: str
    created: str
    finished: str
    page: str
    error: str
    parameters: dict[str, Any]
    tasks: list[Task] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether its state is one that does not change any more."""
        return self.state in FINAL

    @property
    def failed(self) -> bool:
        """Whether it is over, and not well."""
        return self.over and self.state not in GOOD

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def latest_runs(api: Kubeflow, limit: int) -> list[Run]:
    """Return the latest runs, newest first."""
    return [_run(api, found) for found in api.runs(limit)]


def look_up(api: Kubeflow, run_id: str, logs: bool = True) -> Run:
    """Return a run with its tasks; `logs` asks for those of pods that failed. Raises InputError where there is no such run."""
    try:
        found = api.run(run_id)
    except Refused as error:
        if error.status == 404:
            raise InputError(f"no run {run_id} is there ({error})") from None
        raise
    run = _run(api, found)
    return run if not logs or not run.failed else _with_logs(api, run, found)


def wait_for(api: Kubeflow, run_id: str, every_s: float, clock: Any = time.monotonic) -> Run:
    """Return a run when it is over; says each change of state. kfp's own waiting never ends for a run that was cancelled.

    An API that fails is asked again for 15 minutes. Raises as `look_up`.
    """
    state, failing_since = "", None
    while True:
        try:
            run = look_up(api, run_id, logs=False)
        except StepFailed as error:
            failing_since = clock() if failing_since is None else failing_since
            if clock() - failing_since > _PATIENCE_S:
                raise StepFailed(f"{error}; run {run_id} goes on without being watched") from None
            _LOG.warning("%s; the run goes on, asking again", error)
        else:
            failing_since = None
            if run.state != state:
                state = run.state
                _LOG.info("run %s: %s", run_id, state.lower())
            if run.over:
                return look_up(api, run_id)
        api.connection.pause(every_s)


def id_of_name(api: Kubeflow, name: str) -> str:
    """Return the id of the newest run of that name; raises InputError where there is none."""
    runs = api.runs(1, name=name)
    if not runs:
        raise InputError(f"no run of the name {name!r} is there")
    return str(runs[0].get("run_id") or "")


def cancel(api: Kubeflow, run_id: str) -> Run:
    """Ask for a run to be ended and return it as it is then; one that is over stays as it is."""
    run = look_up(api, run_id, logs=False)
    if not run.over and run.state != "CANCELING":
        api.terminate(run_id)
        run = look_up(api, run_id, logs=False)
    return run


def _run(api: Kubeflow, found: Json) -> Run:
    run_id = str(found.get("run_id") or "")
    return Run(
        run_id=run_id,
        name=one_line(found.get("display_name") or ""),
        state=one_line(found.get("state") or "UNKNOWN", 40),
        created=_moment(found.get("created_at")),
        finished=_moment(found.get("finished_at")),
        page=api.page("runs", run_id),
        error=_error(found),
        parameters=(found.get("runtime_config") or {}).get("parameters") or {},
        tasks=[
            Task(
                name=one_line(task.get("display_name") or "", 120),
                state=one_line(task.get("state") or "UNKNOWN", 40),
                started=_moment(task.get("start_time")),
                finished=_moment(task.get("end_time")),
                error=_error(task),
            )
            for task in _tasks(found)
        ],
    )


def _tasks(found: Json) -> list[Json]:
    """The tasks in the order in which they started."""
    tasks = (found.get("run_details") or {}).get("task_details") or []
    return sorted(tasks, key=lambda task: (str(task.get("start_time") or "9"), str(task.get("display_name") or "")))


def _moment(text: object) -> str:
    """A time, or nothing: the API tells 1970 for what has not come yet."""
    return "" if not text or str(text).startswith(("1970-", "0001-")) else one_line(text, 40)


def _error(found: Json) -> str:
    """What went wrong: the API tells it of the run or task itself, or of its last state, or of neither."""
    for place in (found, *reversed(found.get("state_history") or [])):
        if message := (place.get("error") or {}).get("message"):
            return one_line(message)
    return ""


def _with_logs(api: Kubeflow, run: Run, found: Json) -> Run:
    """Add the last lines of the pods that failed.

    The API names a task's pods by the nodes of its workflow; the pod's own name has the template's between. A log that cannot
    be read leaves the run as it is: what failed is told all the same.
    """
    logs: dict[str, list[str]] = {}
    for task in _tasks(found):
        if task.get("state") != "FAILED":
            continue
        for child in task.get("child_tasks") or []:
            workflow, _, number = str(child.get("pod_name") or "").rpartition("-")
            pod = f"{workflow}-{_POD_TEMPLATE}-{number}"
            if not workflow or pod in logs or len(logs) >= _LOGS_READ:
                continue
            try:
                text = api.pod_log(run.run_id, pod)
            except (InputError, StepFailed) as error:
                _LOG.debug("log of %s: %s", pod, error)
                continue
            if lines := [one_line(line) for line in text[-_LOG_END:].splitlines() if line.strip()]:
                logs[pod] = lines[-_LOG_LINES:]
    return Run(**{**vars(run), "logs": logs})
