"""Steps that are stopped, clusters that stumble, and jobs that are there already."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import Interrupted, StepFailed
from tests.components.api_server import ApiServer, status_of
from tests.components.following import complete, left_behind, quick, running, train, write_outputs


def test_a_server_that_stumbles_is_waited_for(server: ApiServer, place: Path) -> None:
    server.faults = [
        ("GET", 503, json.dumps(status_of(503, "etcd leader changed"))),
        ("POST", 500, json.dumps(status_of(500, 'failed calling webhook "v"'))),
        ("POST", 0, ""),  # hangs up
        ("GET", 429, json.dumps(status_of(429, "too many requests"))),
        ("DELETE", 502, "Bad Gateway"),
    ]
    server.play = [running(), complete]
    train(place)
    assert (place / "out" / "model" / "model.safetensors").exists()
    assert server.jobs == {} or all("deletionTimestamp" in job["metadata"] for job in server.jobs.values())


def test_a_job_that_was_created_by_a_call_whose_answer_was_lost_is_followed(server: ApiServer, place: Path) -> None:
    original = server._serve

    def lose(verb: str, *rest: Any) -> tuple[int, Any]:
        answer = original(verb, *rest)
        if verb == "POST" and len(server.posted) == 1:
            return 500, status_of(500, "the answer got lost")
        return answer

    server._serve = lose  # type: ignore[method-assign]
    server.play = [complete]
    train(place)
    assert (place / "out" / "model").is_dir() and server.made("DELETE") == 1


def test_a_silent_cluster_fails_the_step_and_leaves_the_job_for_the_retry(
    server: ApiServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, patience_s=0.3)

    def silence(server: ApiServer, job: str) -> None:
        server.faults = [("GET", 503, "")] * 1000

    server.play = [running(), silence, complete]
    with pytest.raises(StepFailed, match="API server does not answer: "):
        train(place)
    assert server.made("DELETE") == 0
    server.faults = []
    train(place)
    assert server.made("POST") == 1 and (place / "out" / "model").is_dir()


def test_a_retry_follows_the_job_that_is_there_and_becomes_its_owner(
    server: ApiServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = left_behind(server, place)
    monkeypatch.setenv("KFP_POD_NAME", "second")
    monkeypatch.setenv("KFP_POD_UID", "uid-2")
    owners = []

    def act(server: ApiServer, job: str) -> None:
        owners.append(server.jobs[job]["metadata"].get("ownerReferences"))
        if owners[-1]:
            (place / "shared" / "trainjobs" / job / "inputs" / "start").mkdir(parents=True)
            (place / "shared" / "trainjobs" / job / "inputs" / "start" / "model.safetensors").write_bytes(b"of the first try")
            complete(server, job)

    server.play = [act]
    (place / "shared" / "trainjobs" / name).mkdir()
    train(place)
    assert server.made("POST") == 0 and server.made("DELETE") == 1
    assert owners[-1] == [{"apiVersion": "v1", "kind": "Pod", "name": "second", "uid": "uid-2"}]
    assert (place / "out" / "model" / "model.safetensors").read_bytes() == b"of the first try trained"


def test_a_job_that_failed_is_deleted_and_made_anew_when_it_is_gone(server: ApiServer, place: Path) -> None:
    name = left_behind(server, place)
    server.condition(name, "Failed", "x")
    stale = place / "shared" / "trainjobs" / name / "outputs" / "model"
    stale.mkdir(parents=True)
    (place / "shared" / "trainjobs" / name / "work").mkdir()
    (place / "shared" / "trainjobs" / name / "work" / "checkpoint").write_text("x")
    server.looks_until_gone = 3

    def act(server: ApiServer, job: str) -> None:
        assert (place / "shared" / "trainjobs" / name / "work" / "checkpoint").exists()
        if "deletionTimestamp" not in server.jobs[job]["metadata"] and "status" not in server.jobs[job]:
            complete(server, job)

    server.play = [act]
    train(place)
    verbs = [verb for verb, path in server.asked if "/trainjobs" in path]
    assert verbs[:2] == ["GET", "DELETE"]
    assert verbs.index("POST") > 4  # it was waited for
    assert (place / "out" / "model" / "model.safetensors").read_bytes() == b"weights trained"


def test_a_job_that_does_not_vanish_ends_the_waiting(server: ApiServer, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = left_behind(server, place)
    server.condition(name, "Failed", "x")
    server.looks_until_gone = 10**6
    monkeypatch.setattr("components.trainjob.follow._GONE_S", -1)
    with pytest.raises(StepFailed, match="does not vanish"):
        train(place)
    assert server.made("POST") == 0


def test_a_job_that_ended_well_before_the_retry_came_is_not_run_again(server: ApiServer, place: Path) -> None:
    name = left_behind(server, place)
    (place / "shared" / "trainjobs" / name / "inputs").mkdir(parents=True)
    (place / "start").rename(place / "shared" / "trainjobs" / name / "inputs" / "start")
    write_outputs(server, name)
    server.condition(name, "Complete", "x")
    server.play = []
    train(place)
    assert server.made("POST") == 0
    assert (place / "out" / "model").is_dir()


def test_a_job_of_the_same_name_that_does_something_else_is_replaced(server: ApiServer, place: Path) -> None:
    left_behind(server, place, env={"A": "1"})
    server.play = [lambda server, job: None if "POST" not in [verb for verb, _ in server.asked] else complete(server, job)]
    train(place, env={"A": "2"})
    assert (server.made("POST"), server.made("DELETE")) == (1, 2)


def test_a_job_that_somebody_else_deletes_fails_the_step(server: ApiServer, place: Path) -> None:
    server.play = [running(), lambda server, job: server.jobs[job].update(looks=0)]
    with pytest.raises(StepFailed, match="was deleted by somebody else"):
        train(place)


@pytest.mark.parametrize("stray", [False, True])
def test_a_step_that_is_stopped_deletes_its_job_at_once(server: ApiServer, place: Path, stray: bool) -> None:
    """Also when the signal comes twice, and while a request is on its way."""
    sent = []

    def stop(server: ApiServer, job: str) -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)
        if stray:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)

    server.play = [running(), stop, running()]
    deleted = []
    server.on_delete = lambda server, job: deleted.append(time.monotonic())
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"asked to stop; TrainJob cavmae-pretrain-.* is deleted"):
        train(place, poll_s=1)
    assert deleted[0] - sent[0] < 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_step_that_is_stopped_says_so_even_where_the_job_cannot_be_deleted(
    server: ApiServer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = [("DELETE", 403, json.dumps(status_of(403, 'User "x" cannot delete resource "trainjobs"')))]
    server.play = [running(), lambda server, job: os.kill(os.getpid(), signal.SIGTERM)]
    with pytest.raises(Interrupted):
        train(place)
    assert "could not be deleted" in caplog.text and 'User "x" cannot delete' in caplog.text


def test_the_nodes_are_told_that_somebody_follows(server: ApiServer, place: Path) -> None:
    stamps = []

    def look(server: ApiServer, job: str) -> None:
        stamps.append((place / "shared" / "trainjobs" / job / "followed").stat().st_mtime_ns)
        if len(stamps) == 3:
            complete(server, job)

    server.play = [look]
    train(place)
    assert stamps[0] < stamps[1] < stamps[2]


def test_outputs_that_cannot_be_brought_back_leave_the_job_for_the_retry(server: ApiServer, place: Path) -> None:
    (place / "out").write_text("a file where a folder should be")
    server.play = [complete]
    with pytest.raises(StepFailed, match="out"):
        train(place)
    assert server.made("DELETE") == 0
    (place / "out").unlink()
    server.play = []
    train(place)
    assert server.made("POST") == 1 and (place / "out" / "curves").is_file()
