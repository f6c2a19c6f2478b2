"""What the tasks of both DAGs do with what the data's state holds, in Airflow's own environment, with the answers given."""

from typing import Any

from tests.dags.airflow_here import NEEDED, in_airflow

pytestmark = NEEDED
# `steps`: each a task, the version that the sources have, and what else it is given; answered is how each ended
PROGRAM = """
import json, sys
from types import SimpleNamespace
import dags.new_data as new_data, dags.retrain as retrain
from airflow.sdk.exceptions import AirflowException
class State(dict):
    def set(self, key, value, **_): self[key] = value
    def delete(self, key): self.pop(key, None)
class Command:
    def __init__(self, *words): pass
    def output(self): return version
new_data.Command = retrain.Command = Command
new_data.Project = retrain.Project = SimpleNamespace(of_variables=lambda: None)
tasks = {task.task_id: task.python_callable for dag in (new_data.new_data(), retrain.retrain()) for task in dag.tasks
         if task.task_id in ("look", "settle", "give_back")}
state, ended = State(), []
for task, version, given in json.loads(sys.argv[1]):
    store = {new_data.DATA: state}
    ti = SimpleNamespace(max_tries=given.get("tries", 3), xcom_pull=lambda task_ids: given.get("settled"))
    if given.get("trained"):
        state[new_data.TRAINED] = given["trained"]
    more = {
        "look": lambda: {"outlet_events": {new_data.DATA: SimpleNamespace(extra=None)}, "ti": ti, "run_id": given.get("run")},
        "settle": lambda: {"triggering_asset_events": {"a": [SimpleNamespace(extra=extra) for extra in given.get("events", [])]}},
        "give_back": lambda: {"ti": ti},
    }[task]()
    try:
        ended.append(tasks[task](asset_state_store=store, **more))
    except AirflowException as error:
        ended.append(type(error).__name__)
print(json.dumps(ended))
"""
SKIPPED, FAILED = "AirflowSkipException", "AirflowFailException"


def ended(*steps: tuple[str, str, dict[str, Any]]) -> list[str]:
    found: list[str] = in_airflow(PROGRAM, steps)
    return found


def test_a_look_whose_worker_was_lost_tells_again_and_another_look_does_not() -> None:
    first = ("look", "v1", {"run": "a"})
    assert ended(first, first, ("look", "v1", {"run": "b"}), ("look", "v1", {"run": "a", "tries": 7})) == [
        "v1", "v1", SKIPPED, SKIPPED,
    ]  # fmt: skip


def test_a_failure_gives_back_its_own_version_and_not_a_newer_one() -> None:
    looks = ("look", "v1", {"run": "a"}), ("look", "v2", {"run": "b"})
    again = ("look", "v2", {"run": "c"})
    assert ended(*looks, ("give_back", "", {"settled": "v1"}), again) == ["v1", "v2", FAILED, SKIPPED]
    assert ended(*looks, ("give_back", "", {"settled": "v2"}), again) == ["v1", "v2", FAILED, "v2"]
    assert ended(*looks, ("give_back", "", {}), again) == ["v1", "v2", FAILED, "v2"], "nobody knows which one it was"


def test_a_run_that_looks_alone_started_is_skipped_where_the_one_before_it_trained_on_all() -> None:
    told, other = {"version": "v2"}, {"version": "v1"}
    assert ended(
        ("settle", "v2", {"events": [told], "trained": "v2"}),
        ("settle", "v2", {"events": [told, other], "trained": "v2"}),
        ("settle", "v2", {"events": [{}, told], "trained": "v2"}),
        ("settle", "v2", {"events": [], "trained": "v2"}),
        ("settle", "v2", {"events": [told], "trained": "v1"}),
    ) == [SKIPPED, SKIPPED, "v2", "v2", "v2"]
