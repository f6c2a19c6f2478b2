"""What a try of the Kubeflow task does with what earlier tries kept, in Airflow's own environment, with the answers given."""

from typing import Any

import pytest

from tests.dags.airflow_here import NEEDED, in_airflow

pytestmark = NEEDED
# `kept` is the task's state, `tries` its max_tries, `runs` the state of each run, `kill` ends the task while it submits
PROGRAM = """
import json, sys
from datetime import timedelta
from types import SimpleNamespace
import dags.kubeflow as module
from airflow.sdk.exceptions import AirflowException, TaskDeferred
given = json.loads(sys.argv[1])
asked, runs = [], given["runs"]
class Command:
    def __init__(self, words):
        self.words = words
    def answer(self):
        word = self.words[0]
        if word == "submit":
            name = self.words[self.words.index("--run-name") + 1]
            if given.get("kill"):
                task.on_kill()
                raise AirflowException("it was stopped")
            runs.setdefault(name, "PENDING")
            return {"run_id": name}
        if given.get("away"):
            raise AirflowException("nobody answers")
        return {"state": runs[self.words[1]]}
    def stop(self):
        asked.append(["stop"])
def command(words, say):
    asked.append(list(words))
    return Command(words)
module.command, module.answer = command, lambda words, say: command(words, say).answer()
state = dict(given["kept"])
store = SimpleNamespace(get=state.get, set=lambda key, value, retention: state.update({key: json.loads(json.dumps(value))}))
task = module.KubeflowRunOperator(
    task_id="kubeflow", name="cavmae-retrain", values=["registry=r", ""], fields="epochs=2\\nlr=0.1", overrides="a.b=1\\nc.d=2",
    settings="team.yaml", run_name="airflow r1", limit=timedelta(days=1),
)
try:
    ended = task.execute({"task_state_store": store, "ti": SimpleNamespace(max_tries=given["tries"])})
except TaskDeferred as deferred:
    ended = "waits for " + deferred.trigger.run_id
except AirflowException as error:
    ended = str(error)
print(json.dumps({"ended": ended, "asked": asked, "kept": state.get("submission")}))
"""


def tried(kept: dict[str, Any] | None, runs: dict[str, str], tries: int = 3, **more: Any) -> tuple[str, list[list[str]], Any]:
    """How the try ended, what was asked of Kubeflow, and what is kept for the next."""
    given = {"kept": {"submission": kept} if kept else {}, "runs": runs, "tries": tries, **more}
    found = in_airflow(PROGRAM, given)
    return found["ended"], found["asked"], found["kept"]


def submission(number: int, run: str | None, tries: int = 3) -> dict[str, Any]:
    return {"number": number, "tries": tries, "started": 0.0, "run_id": run}


def test_the_first_try_starts_a_run_with_all_of_the_form() -> None:
    ended, asked, kept = tried(None, {})
    assert ended == "waits for airflow r1 1" and kept["number"] == 1 and kept["run_id"] == "airflow r1 1"
    values = ["registry=r", "epochs=2", "lr=0.1", "overrides=a.b=1\nc.d=2"]
    flags = [word for value in values for word in ("-p", value)]
    assert asked == [["submit", "cavmae-retrain", *flags, "--settings", "team.yaml", "--run-name", "airflow r1 1"]]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SOMETHING_NEW"])
def test_a_retry_waits_for_the_run_that_goes_on(state: str) -> None:
    ended, asked, kept = tried(submission(1, "one"), {"one": state})
    assert ended == "waits for one" and asked == [["status", "one"]] and kept == submission(1, "one")


def test_a_retry_takes_a_run_that_has_ended_well_meanwhile() -> None:
    ended, asked, _ = tried(submission(1, "one"), {"one": "SUCCEEDED"})
    assert ended == "one" and asked == [["status", "one"]]


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "CANCELING"])
def test_a_retry_after_a_bad_end_starts_another(state: str) -> None:
    ended, _, kept = tried(submission(1, "one"), {"one": state})
    assert ended == "waits for airflow r1 2" and kept["number"] == 2


def test_a_submission_that_nobody_heard_of_is_found_by_its_name() -> None:
    ended, asked, kept = tried(submission(1, None), {"airflow r1 1": "RUNNING"})
    assert ended == "waits for airflow r1 1" and [words[0] for words in asked] == ["submit", "status"]
    assert kept["number"] == 1


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED", "FAILED"])
def test_a_cleared_task_ends_its_run_and_starts_another(state: str, away: bool) -> None:
    ended, asked, kept = tried(submission(1, "one", tries=3), {"one": state}, tries=4, away=away)
    assert ended == "waits for airflow r1 2" and asked[0] == ["cancel", "one"]
    assert kept["number"] == 2 and kept["tries"] == 4


def test_a_task_that_is_ended_while_it_submits_cancels_what_it_may_have_started() -> None:
    ended, asked, kept = tried(None, {}, kill=True)
    assert ended == "it was stopped" and asked[1:] == [["stop"], ["cancel", "--run-name", "airflow r1 1"]]
    assert kept["number"] == 1 and kept["run_id"] is None
