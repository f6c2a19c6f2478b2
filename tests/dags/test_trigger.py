"""The trigger that watches a run: what it makes of every answer, in Airflow's own environment, with the answers given."""

from typing import Any

from tests.dags.airflow_here import NEEDED, in_airflow

pytestmark = NEEDED
# `answers` are what the command says at each look; `until` is in seconds from now; asked words and the event are printed
PROGRAM = """
import asyncio, itertools, json, sys, time
import dags.kubeflow as module
from airflow.sdk.exceptions import AirflowException, AirflowFailException
given = json.loads(sys.argv[1])
module._SETTLED_S = 0
clock = itertools.count()
module.time.monotonic = lambda: next(clock) * 100.0
asked, answers = [], iter(given["answers"])
def answer(words, say):
    asked.append(words[0])
    if words[0] == "cancel":
        raise AirflowException("it does not answer")
    said = next(answers)
    if isinstance(said, str):
        raise {"refused": AirflowFailException, "away": AirflowException}[said](said)
    return said
module.answer = answer
class Quiet:
    def __getattr__(self, name):
        return lambda *words, **more: None
trigger = module.KubeflowRunTrigger("r1", 0, time.time() + given["until"])
path, fields = trigger.serialize()
assert path == "dags.kubeflow.KubeflowRunTrigger" and fields["run_id"] == "r1"
async def first():
    async for event in trigger.run():
        return event.payload
print(json.dumps({"event": asyncio.run(first()), "asked": asked}))
"""


def watched(answers: list[Any], until: float = 1e6) -> tuple[dict[str, Any], list[str]]:
    """The event, and the commands that were asked for."""
    found = in_airflow(PROGRAM, {"answers": answers, "until": until})
    return found["event"], found["asked"]


def run_in(state: str, *tasks: tuple[str, str, str]) -> dict[str, Any]:
    return {"state": state, "error": "", "tasks": [{"name": name, "state": of, "error": error} for name, of, error in tasks]}


def test_it_waits_through_everything_that_may_pass() -> None:
    answers = [run_in("PENDING"), "away", "refused", "away", run_in("SOMETHING_NEW"), run_in("CANCELING"), run_in("SUCCEEDED")]
    event, asked = watched(answers)
    assert event == {"run_id": "r1", "state": "SUCCEEDED", "said": ""} and asked == ["status"] * 7


def test_it_says_what_failed() -> None:
    tasks = ("check", "SUCCEEDED", ""), ("finetune", "FAILED", "out of memory"), ("pod", "FAILED", "")
    event, _ = watched([run_in("FAILED", *tasks)])
    assert event["state"] == "FAILED" and event["said"] == "finetune: out of memory; pod"


def test_who_is_refused_for_long_gives_up() -> None:
    event, asked = watched(["refused"] * 99)
    assert event == {"run_id": "r1", "state": "LOST", "said": "refused"} and 3 < len(asked) < 12


def test_a_run_that_takes_too_long_is_cancelled_also_where_nobody_answers() -> None:
    event, asked = watched([run_in("RUNNING")], until=-1)
    assert event["state"] == "TIMED_OUT" and asked == ["status", "cancel"]
