"""A run in Kubeflow as a task: started once, waited for without a worker, ended with the task."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseHook, BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.triggers.base import BaseTrigger, TriggerEvent

from dags.project import Command, Project

CONNECTION = "cavmae_kubeflow"
_RUN, _COUNT = "run_id", "started"  # what the task's state keeps
_EXTRAS = ("namespace", "token_file", "service_account", "cookie_file", "ca_file", "plain_http", "dex_connector")
_OVER = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_GOOD = ("SUCCEEDED", "SKIPPED")


def has_kubeflow() -> bool:
    """Whether a connection to a Kubeflow is set."""
    try:
        BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        return False
    return True


def environment() -> dict[str, str]:
    """The connection as variables of `python -m pipelines`: secrets stand in no command line, log or trigger."""
    connection = BaseHook.get_connection(CONNECTION)
    host = connection.host or ""
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}{f':{connection.port}' if connection.port else ''}"
    given = {"CAVMAE_KFP_HOST": host, "CAVMAE_KFP_USERNAME": connection.login, "CAVMAE_KFP_PASSWORD": connection.password}
    extra = connection.extra_dejson
    given |= {f"CAVMAE_KFP_{key.upper()}": extra[key] for key in _EXTRAS if extra.get(key)}
    return {name: str(value) for name, value in given.items() if value}


def pipelines(words: Sequence[str], say: Any) -> Any:
    """Run `python -m pipelines WORDS --json`; return what it printed, from JSON."""
    return json.loads(Command(Project.of_variables(), ["-m", "pipelines", *words, "--json"], environment(), say).output())


class KubeflowRunOperator(BaseOperator):
    """Run the pipeline `name` with `values`, and wait for its end.

    A retry finds the run that goes on instead of starting another. A task that is failed or cleared by hand ends the run, and the next
    try starts a new one. A run that was cancelled ends the task without a retry; one that failed is started anew by a retry.
    The task's result is the run's id.
    """

    template_fields: Sequence[str] = ("values", "run_name")

    def __init__(
        self,
        *,
        name: str,
        values: Sequence[str],
        run_name: str,
        every_s: float = 30.0,
        limit: timedelta | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.name, self.values, self.run_name = name, list(values), run_name
        self.every_s, self.limit = every_s, limit

    def execute(self, context: Context) -> str | None:
        """Start the run, unless one goes on, and give the worker back."""
        state = context["task_state_store"]
        run_id = state.get(_RUN)
        if run_id is not None and self._over(run_id):
            run_id = None
        if run_id is None:
            count = int(state.get(_COUNT, 0) or 0) + 1
            state.set(_COUNT, count, retention=NEVER_EXPIRE)
            # a submission that nobody answered is found again by this name, by the next try as well
            words = [word for value in self.values for word in ("-p", value)]
            found = pipelines(["submit", self.name, *words, "--run-name", f"{self.run_name} {count}"], self.log.info)
            run_id = str(found["run_id"])
            state.set(_RUN, run_id, retention=NEVER_EXPIRE)
            self.log.info("started %s: %s", run_id, found.get("page"))
        else:
            self.log.info("run %s goes on", run_id)
        self.defer(trigger=KubeflowRunTrigger(run_id=run_id, every_s=self.every_s), method_name="finished", timeout=self.limit)
        return None

    def _over(self, run_id: str) -> bool:
        found = pipelines(["status", run_id], self.log.info)
        return found["state"] in _OVER and found["state"] not in _GOOD

    def finished(self, context: Context, event: dict[str, Any]) -> str:
        """Take the end of the run for the task's."""
        run_id, state = event["run_id"], event["state"]
        if state in _GOOD:
            return str(run_id)
        failed = "; ".join(f"{task['name']}: {task['error'] or task['state'].lower()}" for task in event["failed"])
        said = f"run {run_id} is {state.lower()}{f' ({failed})' if failed else ''}"
        raise AirflowFailException(said) if state == "CANCELED" else AirflowException(said)


class KubeflowRunTrigger(BaseTrigger):
    """Looks at a run until it is over; a Kubeflow that does not answer is asked again."""

    def __init__(self, run_id: str, every_s: float) -> None:
        super().__init__()
        self.run_id, self.every_s = run_id, every_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As the triggerer makes it again."""
        return "dags.kubeflow.KubeflowRunTrigger", {"run_id": self.run_id, "every_s": self.every_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the run is over."""
        while True:
            try:
                found = await asyncio.to_thread(pipelines, ["status", self.run_id], self.log.debug)
            except AirflowFailException as error:  # there is no such run any more
                yield TriggerEvent(
                    {"run_id": self.run_id, "state": "CANCELED", "failed": [{"name": "status", "error": str(error)}]}
                )
                return
            except AirflowException as error:
                self.log.warning("run %s cannot be looked at: %s", self.run_id, error)
            else:
                if found["state"] in _OVER:
                    failed = [task for task in found["tasks"] if task["state"] == "FAILED"][:5]
                    yield TriggerEvent({"run_id": self.run_id, "state": found["state"], "failed": failed})
                    return
            await asyncio.sleep(self.every_s)

    async def on_kill(self) -> None:
        """End the run: a person has failed or cleared the task. In one piece, since only so much time is given."""
        await asyncio.shield(asyncio.to_thread(pipelines, ["cancel", self.run_id], self.log.info))
