"""`python -m pipelines status|cancel`: what is told of runs, and what a Kubeflow in a bad mood makes of every command."""

import json

import pytest

from tests.pipelines.conftest import Command, run_of
from tests.pipelines.fake_kubeflow import API, FakeKubeflow


def test_status_lists_the_latest_runs(fake: FakeKubeflow, command: Command) -> None:
    assert command("status")[:2] == (0, "no runs")
    fake.runs["r1"] = run_of()
    fake.runs["r2"] = run_of(run_id="r2", state="FAILED", created_at="2026-11-22T00:00:00Z")
    code, out, _ = command("status")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [["r2", "failed"], ["r1", "running"]]
    assert [run["run_id"] for run in json.loads(command("status", "--json")[1])] == ["r2", "r1"]


def test_status_of_a_run_shows_its_tasks_and_what_went_wrong(fake: FakeKubeflow, command: Command) -> None:
    names = ["root", "root-driver", "ingest", "validate-driver", "validate", "executor(0)", "executor"]
    tasks = [{"display_name": name, "state": "FAILED" if name in ("validate", "root") else "SUCCEEDED"} for name in names]
    tasks[4] |= {"error": {"message": "gate closed"}, "child_tasks": [{"pod_name": "w-1"}]}
    fake.runs["r1"] = run_of(state="FAILED", run_details={"task_details": tasks}, error={"message": "a task failed"})
    fake.logs["w-system-container-impl-1"] = "cavmae validate: 3 expectations do not hold\n"
    code, out, _ = command("status", "r1")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "night: failed" and "error: a task failed" in lines
    shown = [line.split() for line in lines if line.startswith("  ") and "cavmae" not in line]
    assert shown == [["ingest", "succeeded"], ["validate", "failed", "gate", "closed"]]
    assert lines[-1] == "  cavmae validate: 3 expectations do not hold"
    document = json.loads(command("status", "r1", "--json")[1])
    assert document["state"] == "FAILED" and len(document["tasks"]) == 7 and document["logs"]


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_status_and_wait(fake: FakeKubeflow, command: Command, state: str, code: int) -> None:
    fake.runs["r1"] = run_of(state=state)
    assert command("status", "r1", "--wait")[0] == code
    assert command("status", "r1")[0] == 0  # without it the question is answered, whatever the answer


def test_waiting_needs_a_run(fake: FakeKubeflow, command: Command) -> None:
    code, _, err = command("status", "--wait")
    assert code == 2 and "RUN_ID" in err and fake.sent == []


def test_cancel(fake: FakeKubeflow, command: Command) -> None:
    fake.runs["r1"] = run_of()
    code, out, _ = command("cancel", "r1")
    assert code == 0 and out.startswith("night: canceling")
    assert fake.writes() == [f"POST {API}/runs/r1:terminate"]
    code, _, err = command("cancel", "r2")
    assert code == 2 and "no run r2" in err


def test_cancel_by_name(fake: FakeKubeflow, command: Command) -> None:
    fake.runs["r1"] = run_of()
    assert command("cancel", "--run-name", "night")[0] == 0
    assert fake.writes() == [f"POST {API}/runs/r1:terminate"]
    for words, said in (
        (["--run-name", "day"], "no run of the name 'day'"),
        ([], "RUN_ID"),
        (["r1", "--run-name", "night"], "RUN_ID"),
    ):
        code, _, err = command("cancel", *words)
        assert code == 2 and said in err


@pytest.mark.parametrize(("mood", "code"), [(401, 2), (403, 2), (404, 2), (500, 1), (503, 1), ("drop", 1)])
@pytest.mark.parametrize("words", [["status"], ["status", "r1"], ["cancel", "r1"], ["schedule", "cavmae-retrain", "--off"]])
def test_a_kubeflow_in_a_bad_mood_is_one_line_and_an_exit_code(
    fake: FakeKubeflow, command: Command, mood: int | str, code: int, words: list[str]
) -> None:
    fake.mood("", mood)
    found, out, err = command(*words)
    assert (found, out) == (code, "")
    assert len(err.splitlines()) == 1 and err.startswith("pipelines: ")


def test_several_users_need_a_namespace(fake: FakeKubeflow, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.multi_user = True
    assert command("status")[0] == 2
    monkeypatch.setenv("CAVMAE_KFP_NAMESPACE", "me")
    assert command("status")[0] == 0
    assert fake.sent[-1].query["namespace"] == "me"
