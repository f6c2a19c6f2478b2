"""A run in Kubeflow as a task: started once, waited for without a worker, ended with the task."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.triggers.base import BaseTrigger, TriggerEvent

from dags.kubeflow_commands import answer, command
from dags.project import Command

_SUBMISSION = "submission"  # what the task's state keeps: number, tries, started, run_id
_GOOD, _BAD = ("SUCCEEDED", "SKIPPED"), ("FAILED", "CANCELED")
_FOR_GOOD = ("CANCELED", "LOST", "TIMED_OUT")  # what no retry mends; the last two are ours
# The executor tells the scheduler that a task was deferred within `[workers] min_heartbeat_interval`, 5 s. An event that is there
# before makes the scheduler take the deferral for a lost task.
_SETTLED_S = 15.0
_PATIENCE_S = 900.0  # how long a Kubeflow may say that there is no such run, or no such user


class KubeflowRunOperator(BaseOperator):
    """Run the pipeline `name`, and wait for its end, `limit` long at most.

    Its form gets `values` (`key=value` each, empty ones left out), `fields` (lines of them) and `overrides` (lines of
    `step.key=value`); `settings` names a settings file, or is empty.

    A retry finds the run that goes on instead of starting another. A task that is failed or cleared by hand ends the run, and a
    cleared one starts a new run. A run that was cancelled, or takes longer than `limit`, ends the task without a retry; after
    one that failed a retry starts another. The task's result is the run's id.
    """

    template_fields: Sequence[str] = ("values", "fields", "overrides", "settings", "run_name")

    def __init__(
        self,
        *,
        name: str,
        values: Sequence[str],
        run_name: str,
        limit: timedelta,
        fields: str = "",
        overrides: str = "",
        settings: str = "",
        every_s: float = 30.0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.name, self.values, self.run_name = name, list(values), run_name
        self.fields, self.overrides, self.settings = fields, overrides, settings
        self.limit, self.every_s = limit, every_s
        self._command: Command | None = None
        self._submitted = ""

    def execute(self, context: Context) -> str | None:
        """Start the run, unless one goes on or has ended well, and give the worker back."""
        state, tries = context["task_state_store"], context["ti"].max_tries
        kept: dict[str, Any] = state.get(_SUBMISSION) or {"number": 0}
        if kept["number"] and kept["run_id"] is None:  # nobody heard whether it was started
            kept["run_id"] = self._submit(kept)
        became = self._became(kept, tries)
        if became in _GOOD:
            return str(kept["run_id"])
        if became in (*_BAD, "CANCELING"):
            kept = {"number": kept["number"] + 1, "tries": tries, "started": time.time(), "run_id": None}
            state.set(_SUBMISSION, kept, retention=NEVER_EXPIRE)
            kept["run_id"] = self._submit(kept)
        state.set(_SUBMISSION, kept, retention=NEVER_EXPIRE)
        self.log.info("waiting for run %s", kept["run_id"])
        trigger = KubeflowRunTrigger(kept["run_id"], self.every_s, kept["started"] + self.limit.total_seconds())
        self.defer(trigger=trigger, method_name="finished")
        return None

    def _became(self, kept: dict[str, Any], tries: int) -> str:
        """The kept submission's state; `CANCELED` where there is none, or the task was cleared, which gives it more tries."""
        if not kept["number"]:
            return "CANCELED"
        if kept["tries"] == tries:
            return str(answer(["status", kept["run_id"]], self.log.info)["state"])
        with suppress(AirflowException):  # whoever cleared it wants a new run, also where the old one cannot be reached
            answer(["cancel", kept["run_id"]], self.log.info)
        return "CANCELED"

    def _submit(self, kept: dict[str, Any]) -> str:
        """Start the run of that number, or find it where a try before this one did not hear of it."""
        values = [*self.values, *self.fields.splitlines(), f"overrides={self.overrides}" if self.overrides else ""]
        words = [word for value in values if value.strip() for word in ("-p", value)]
        words += ["--settings", self.settings] if self.settings else []
        self._submitted = f"{self.run_name} {kept['number']}"
        self._command = command(["submit", self.name, *words, "--run-name", self._submitted], self.log.info)
        return str(self._command.answer()["run_id"])

    def on_kill(self) -> None:
        """End a run whose submission was under way. The command outlives this process, which has seconds to live."""
        if self._command is not None:
            self._command.stop()
            command(["cancel", "--run-name", self._submitted], self.log.info)

    def finished(self, context: Context, event: dict[str, Any]) -> str:
        """Take the end of the run for the task's."""
        run_id, state = event["run_id"], event["state"]
        if state in _GOOD:
            return str(run_id)
        said = ": ".join(words for words in (f"run {run_id} is {state.lower().replace('_', ' ')}", event["said"]) if words)
        raise AirflowFailException(said) if state in _FOR_GOOD else AirflowException(said)


class KubeflowRunTrigger(BaseTrigger):
    """Looks at a run until it is over, or ends it at `until` (a Unix time). A Kubeflow that does not answer is asked again."""

    def __init__(self, run_id: str, every_s: float, until: float) -> None:
        super().__init__()
        self.run_id, self.every_s, self.until = run_id, every_s, until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As the triggerer makes it again."""
        return "dags.kubeflow.KubeflowRunTrigger", {"run_id": self.run_id, "every_s": self.every_s, "until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the run is over."""
        refused_since = None
        await asyncio.sleep(_SETTLED_S)
        while True:
            try:
                found = await asyncio.to_thread(answer, ["status", self.run_id], self.log.debug)
            except AirflowFailException as error:  # it answers, and knows no such run, or not us
                refused_since = refused_since or time.monotonic()
                self.log.warning("run %s: %s", self.run_id, error)
                if time.monotonic() - refused_since > _PATIENCE_S:
                    yield self._event("LOST", str(error))
                    return
            except AirflowException as error:
                self.log.warning("run %s cannot be looked at: %s", self.run_id, error)
            else:
                refused_since = None
                if found["state"] in _GOOD + _BAD:
                    yield self._event(found["state"], _failures(found))
                    return
            if time.time() > self.until:
                with suppress(AirflowException):
                    await asyncio.to_thread(answer, ["cancel", self.run_id], self.log.info)
                yield self._event("TIMED_OUT", "its time was up, and it was cancelled")
                return
            await asyncio.sleep(self.every_s)

    def _event(self, state: str, said: str) -> TriggerEvent:
        return TriggerEvent({"run_id": self.run_id, "state": state, "said": said})

    async def on_kill(self) -> None:
        """End the run: a person has failed or cleared the task. In one piece, since only so much time is given."""
        await asyncio.shield(asyncio.to_thread(answer, ["cancel", self.run_id], self.log.info))


def _failures(found: dict[str, Any]) -> str:
    failed = [task for task in found["tasks"] if task["state"] == "FAILED"][:5]
    return "; ".join(f"{task['name']}: {task['error']}" if task["error"] else task["name"] for task in failed) or found["error"]
