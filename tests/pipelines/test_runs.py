"""Runs: what is told of them, waiting that ends for every final state, cancelling."""

import logging
from pathlib import Path
from typing import Any

import pytest
import requests

from cavmae.errors import InputError, StepFailed
from pipelines import runs
from pipelines.connection import Connection
from pipelines.kubeflow import Kubeflow
from pipelines.runs import cancel, latest_runs, look_up, wait_for
from tests.pipelines.conftest import run_of
from tests.pipelines.fake_kubeflow import API, FakeKubeflow

NEVER = "1970-01-01T00:00:00Z"


def task(name: str, state: str, **more: Any) -> dict[str, Any]:
    return {"display_name": name, "state": state, "start_time": "2026-11-21T10:00:01Z", "end_time": NEVER, **more}


def give(fake: FakeKubeflow, **fields: Any) -> None:
    fake.runs["r1"] = run_of(**fields)


def test_a_run_with_its_tasks(fake: FakeKubeflow, api: Kubeflow) -> None:
    tasks = [
        task("train", "FAILED", start_time="2026-11-21T10:02:00Z", error={"code": 2, "message": "main: Error (exit code 1)"}),
        task("ingest", "SUCCEEDED"),
        task("waits", "PENDING", start_time=NEVER),
    ]
    give(fake, run_details={"task_details": tasks}, runtime_config={"parameters": {"lr": 0.1}}, finished_at=NEVER)
    run = look_up(api, "r1")
    assert [(item.name, item.state, item.error) for item in run.tasks] == [
        ("waits", "PENDING", ""),
        ("ingest", "SUCCEEDED", ""),
        ("train", "FAILED", "main: Error (exit code 1)"),
    ]
    assert (run.finished, run.tasks[0].started, run.parameters) == ("", "", {"lr": 0.1})
    assert run.page == f"{fake.url}/#/runs/details/r1"


def test_what_went_wrong_may_stand_in_the_history_of_states(fake: FakeKubeflow, api: Kubeflow) -> None:
    history = [
        {"state": "RUNNING", "error": {"message": "old"}},
        {"state": "FAILED", "error": {"message": "OOMKilled\n(exit 137)"}},
    ]
    give(fake, state="FAILED", state_history=history, run_details={"task_details": [task("x", "FAILED", state_history=history)]})
    run = look_up(api, "r1")
    assert run.error == run.tasks[0].error == "OOMKilled (exit 137)"


def test_the_end_of_a_failed_pods_log_is_shown_where_it_can_be_read(fake: FakeKubeflow, api: Kubeflow) -> None:
    children = [{"pod_name": "retrain-x7k2p-123"}, {"pod_name": "retrain-x7k2p-456"}, {"pod_name": "odd"}, {"task_id": "t"}]
    tasks = [task("validate", "FAILED", child_tasks=children), task("ingest", "SUCCEEDED", child_tasks=[{"pod_name": "a-1"}])]
    give(fake, state="FAILED", run_details={"task_details": tasks})
    fake.logs["retrain-x7k2p-system-container-impl-123"] = "\n".join(
        [*map(str, range(9)), "cavmae validate: \x1b[31mtoo many", "", ""]
    )
    fake.logs["a-system-container-impl-1"] = "fine"
    run = look_up(api, "r1")
    assert run.logs == {"retrain-x7k2p-system-container-impl-123": ["5", "6", "7", "8", "cavmae validate: [31mtoo many"]}
    assert look_up(api, "r1", logs=False).logs == {}


def test_of_a_run_that_did_not_fail_no_log_is_asked_for(fake: FakeKubeflow, api: Kubeflow) -> None:
    give(fake, state="SUCCEEDED", run_details={"task_details": [task("x", "FAILED", child_tasks=[{"pod_name": "a-1"}])]})
    look_up(api, "r1")
    assert len(fake.sent) == 1


@pytest.mark.parametrize("fields", [{}, {"state": None, "run_details": {}}, {"run_details": {"task_details": [{}]}}])
def test_a_run_of_which_little_is_told(fake: FakeKubeflow, api: Kubeflow, fields: dict[str, Any]) -> None:
    fake.runs["r1"] = {"run_id": "r1", **fields}
    run = look_up(api, "r1")
    assert run.state == "UNKNOWN" and not run.over


def test_a_run_that_is_not_there(api: Kubeflow) -> None:
    with pytest.raises(InputError, match="no run nope is there"):
        look_up(api, "nope")


def test_latest_runs_come_newest_first(fake: FakeKubeflow, api: Kubeflow) -> None:
    for day in range(1, 29):
        fake.runs[f"r{day}"] = run_of(run_id=f"r{day}", created_at=f"2026-11-{day:02d}T00:00:00Z")
    assert [run.run_id for run in latest_runs(api, 3)] == ["r28", "r27", "r26"]


@pytest.mark.parametrize(("state", "failed"), [("SUCCEEDED", False), ("SKIPPED", False), ("FAILED", True), ("CANCELED", True)])
def test_waiting_ends_with_every_final_state(
    fake: FakeKubeflow, api: Kubeflow, state: str, failed: bool, caplog: pytest.LogCaptureFixture, pauses: list[float]
) -> None:
    states = iter(["PENDING", "RUNNING", "RUNNING", "SOMETHING_NEW", "CANCELING", state, state])
    give(fake)
    fake.mood(f"GET {API}/runs/r1", lambda handler: handler.answer(200, run_of(state=next(states))))
    with caplog.at_level(logging.INFO):
        run = wait_for(api, "r1", every_s=7)
    assert (run.state, run.failed) == (state, failed)
    assert pauses == [7] * 5
    told = [record.message for record in caplog.records if record.name == "pipelines.runs"]
    assert told == [f"run r1: {word}" for word in ("pending", "running", "something_new", "canceling", state.lower())]


def test_an_api_that_fails_for_a_while_does_not_end_the_waiting(fake: FakeKubeflow, api: Kubeflow) -> None:
    give(fake, state="SUCCEEDED")
    fake.mood("GET", 503, times=12)  # two looks of five attempts each, and two of the third
    assert wait_for(api, "r1", 1).state == "SUCCEEDED"


def test_an_api_that_fails_for_long_ends_the_waiting(fake: FakeKubeflow, api: Kubeflow) -> None:
    give(fake)
    fake.mood("GET", 503)
    clock = iter(range(0, 100_000, 400))
    with pytest.raises(StepFailed, match="r1 goes on without being watched"):
        wait_for(api, "r1", 1, clock=lambda: next(clock))


def test_a_run_that_is_gone_ends_the_waiting(fake: FakeKubeflow, api: Kubeflow) -> None:
    with pytest.raises(InputError, match="no run"):
        wait_for(api, "r1", 1)


def test_a_token_that_is_renewed_while_a_run_is_waited_for(fake: FakeKubeflow, tmp_path: Path, pauses: list[float]) -> None:
    import argparse

    from pipelines.access import add_access_options, connect

    token = tmp_path / "token"
    token.write_text("one")
    fake.token = "one"
    parser = argparse.ArgumentParser()
    add_access_options(parser)
    there, namespace = connect(parser.parse_args(["--host", fake.url, "--token-file", str(token)]), {})
    steps = iter(["RUNNING", "RUNNING", "SUCCEEDED", "SUCCEEDED"])

    def tick(handler: Any) -> None:
        state = next(steps)
        fake.token = "two"
        token.write_text("two")
        handler.answer(200, run_of(state=state))

    fake.mood("GET", tick)
    assert wait_for(Kubeflow(there, namespace), "r1", 1).state == "SUCCEEDED"


@pytest.mark.parametrize(("state", "asked"), [("RUNNING", True), ("PENDING", True), ("CANCELING", False), ("SUCCEEDED", False)])
def test_cancelling(fake: FakeKubeflow, api: Kubeflow, state: str, asked: bool) -> None:
    give(fake, state=state)
    run = cancel(api, "r1")
    assert fake.writes() == ([f"POST {API}/runs/r1:terminate"] if asked else [])
    assert run.state == ("CANCELING" if asked else state)


def test_cancelling_what_is_not_there(fake: FakeKubeflow, api: Kubeflow) -> None:
    with pytest.raises(InputError, match="no run"):
        cancel(api, "r1")
    assert fake.writes() == []


def test_the_states_are_those_of_the_api() -> None:
    import kfp_server_api

    known = kfp_server_api.V2beta1RuntimeState.allowable_values
    assert set(runs.FINAL) < set(known) and set(runs.GOOD) < set(runs.FINAL)
    assert set(known) - set(runs.FINAL) == {"RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED"}


def test_ids_come_back_as_they_are(fake: FakeKubeflow) -> None:
    page = Kubeflow(Connection(fake.url, requests.Session()), None).page("runs", "a b/c")
    assert page == f"{fake.url}/#/runs/details/a%20b%2Fc"
