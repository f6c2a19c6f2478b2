"""A real Airflow against a Kubeflow that really runs what it is sent, and that is slow, failing or away."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.dags.airflow_here import NEEDED, Airflow
from tests.dags.running_kubeflow import RunningKubeflow
from tests.dags.small_project import history, make_project
from tests.dags.telling import Told, listening
from tests.pipelines.serving import serving
from tests.training.tiny import tiny

pytestmark = NEEDED
RETRAIN = "cavmae_retrain"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module")
def project(root: Path) -> Path:
    """A checkout whose params.yaml and settings name places that every pod sees."""
    model = shutil.copytree(tiny().pretrained, root / "pretrained")
    project = make_project(root / "project", ingest__source=str(root / "project" / "videos"), fetch__source=str(model))
    settings = yaml.safe_load((REPOSITORY / "pipelines" / "settings.yaml").read_text())
    settings["images"] |= {key: f"registry.test/{key}@sha256:{digit * 64}" for key, digit in (("data", "1"), ("train", "2"))}
    settings["storage"] |= {key: str(root / key) for key in ("store", "registry", "checkpoints", "reports")}
    settings["train"] |= {"gpus": 0, "retries": 0}
    settings["data"] |= {"retries": 0, "parallelism": 1}
    (root / "settings.yaml").write_text(yaml.safe_dump(settings))
    return project


@pytest.fixture(scope="module")
def kubeflow(root: Path) -> Iterator[RunningKubeflow]:
    with serving(RunningKubeflow(work=root, token="a-secret-token")) as running:
        assert isinstance(running, RunningKubeflow)
        running.mood("POST /apis/v2beta1/runs$", "drop", late=True, times=1)  # it starts the first run and says nothing
        yield running
        running.stop()


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with listening() as heard:
        yield heard


@pytest.fixture(scope="module")
def airflow(root: Path, project: Path, kubeflow: RunningKubeflow, told: Told) -> Iterator[Airflow]:
    (root / "token").write_text("a-secret-token")
    kubeflow_there = {"conn_type": "http", "host": kubeflow.url, "extra": {"token_file": str(root / "token")}}
    hook = {"conn_type": "http", "host": f"http://127.0.0.1:{told.web_port}/hook", "password": "hook-secret"}
    plain = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": told.mail_port, "extra": plain}
    connections = {"KUBEFLOW": kubeflow_there, "WEBHOOK": hook, "MAIL": mail}
    started = Airflow(
        root / "home",
        project,
        **{f"AIRFLOW_CONN_CAVMAE_{name}": json.dumps(connection) for name, connection in connections.items()},
        AIRFLOW_VAR_CAVMAE_MAIL_TO="one@example.org, two@example.org",
        AIRFLOW_VAR_CAVMAE_REGISTRY=str(root / "registry"),
        AIRFLOW_VAR_CAVMAE_SETTINGS=str(root / "settings.yaml"),
        CAVMAE_RETRY_S="1",
        CAVMAE_RETRIES="1",
        CAVMAE_POLL_S="2",
    )
    try:
        started.start()
        yield started
    finally:
        started.stop()


def deferred(airflow: Airflow, run: str) -> None:
    """Return when the task waits for Kubeflow."""
    airflow.wait(lambda: airflow.tasks(RETRAIN, run).get("kubeflow") == "deferred")


def terminated(kubeflow: RunningKubeflow) -> list[str]:
    return [write for write in kubeflow.writes() if write.endswith(":terminate")]


def test_new_data_is_one_run_whatever_is_lost_meanwhile(
    airflow: Airflow, kubeflow: RunningKubeflow, project: Path, root: Path
) -> None:
    airflow.trigger("cavmae_new_data")
    airflow.wait(lambda: airflow.runs(RETRAIN))
    run = airflow.runs(RETRAIN)[0]["dag_run_id"]
    deferred(airflow, run)
    for part in ("triggerer", "scheduler"):
        airflow.kill(part)
    kubeflow.mood("GET /apis/v2beta1/runs/", 503)  # and for a while nobody is there
    for part in ("triggerer", "scheduler"):
        airflow.begin(part)
    refused = len(kubeflow.sent)
    airflow.wait(lambda: len(kubeflow.sent) > refused + 3)
    kubeflow.moods.clear()
    assert airflow.ended(RETRAIN, run, 600)["state"] == "success", kubeflow.log(next(iter(kubeflow.runs)))

    assert kubeflow.states() == ["SUCCEEDED"] and not terminated(kubeflow)
    assert airflow.result(RETRAIN, run, "kubeflow") == next(iter(kubeflow.runs))
    assert [entry["run_id"] for entry in history(project, root / "registry")] == list(kubeflow.runs)
    assert airflow.result(RETRAIN, run, "report").startswith("promoted ")
    tasks = airflow.tasks(RETRAIN, run)
    assert {tasks[name] for name in ("validate", "train", "snapshot", "compare", "promote", "give_back")} == {"skipped"}
    look = airflow.trigger("cavmae_new_data")
    assert airflow.tasks("cavmae_new_data", look["dag_run_id"]) == {"look": "skipped"}


@pytest.fixture
def slow(kubeflow: RunningKubeflow) -> Iterator[RunningKubeflow]:
    """The same while its runs never end."""
    kubeflow.slow = True
    yield kubeflow
    kubeflow.slow = False


def test_a_task_that_is_cleared_or_failed_by_hand_ends_its_run(airflow: Airflow, slow: RunningKubeflow) -> None:
    before = len(slow.runs)
    run = airflow.start_run(RETRAIN)
    deferred(airflow, run)
    airflow.clear(RETRAIN, run, "kubeflow")
    airflow.wait(lambda: len(slow.runs) == before + 2)
    airflow.wait(lambda: slow.states()[before] == "CANCELED")
    deferred(airflow, run)
    time.sleep(5)  # the new run is left alone
    assert slow.states()[before:] == ["CANCELED", "RUNNING"]
    airflow.fail(RETRAIN, run, "kubeflow")
    airflow.wait(lambda: slow.states()[before:] == ["CANCELED", "CANCELED"])
    assert airflow.ended(RETRAIN, run)["state"] == "failed"
    assert len(slow.runs) == before + 2


def test_a_run_that_is_cancelled_there_ends_the_task(airflow: Airflow, slow: RunningKubeflow) -> None:
    before = len(slow.runs)
    run = airflow.start_run(RETRAIN)
    deferred(airflow, run)
    newest = max(slow.runs.values(), key=lambda found: str(found["created_at"]))
    slow.terminate(newest["run_id"])
    assert airflow.ended(RETRAIN, run)["state"] == "failed"
    assert slow.states()[before:] == ["CANCELED"]


def test_a_run_that_fails_is_tried_again_and_told_of_at_the_end(airflow: Airflow, kubeflow: RunningKubeflow, told: Told) -> None:
    told.posts.clear()
    told.mails.clear()
    before = len(kubeflow.runs)
    run = airflow.start_run(RETRAIN, fields=["source=/nowhere", "epochs=2"], overrides=["average.count=1"])
    assert airflow.ended(RETRAIN, run, 300)["state"] == "failed"
    assert kubeflow.states()[before:] == ["FAILED"] * 2
    given = list(kubeflow.runs.values())[-1]["runtime_config"]["parameters"]
    assert given["epochs"] == 2 and given["overrides"] == "average.count=1"

    ours = [(path, key, body) for path, key, body in told.posts if body["task"] == "kubeflow"]
    assert [(path, key) for path, key, _ in ours] == [("/hook", "Bearer hook-secret")]
    said: dict[str, Any] = ours[0][2]
    assert said["dag"] == RETRAIN and said["run"] == run and said["try"] == 2 and "/nowhere" in said["error"]
    mails = [mail for mail in told.mails if mail["Subject"] == f"{RETRAIN}: kubeflow has failed"]
    assert len(mails) == 1 and mails[0]["To"] == "one@example.org, two@example.org"

    look = airflow.trigger("cavmae_new_data")  # a retraining that failed gives its version back, unless it was trained on
    assert airflow.tasks("cavmae_new_data", look["dag_run_id"]) == {"look": "skipped"}
    logs = "".join(path.read_text(errors="replace") for path in airflow.home.rglob("*.log"))
    assert "a-secret-token" not in logs and "hook-secret" not in logs


def test_an_event_from_outside_starts_a_look_or_a_retraining(airflow: Airflow, kubeflow: RunningKubeflow) -> None:
    before = len(airflow.runs(RETRAIN)), len(kubeflow.runs)
    looks = len(airflow.runs("cavmae_new_data"))
    airflow.asset_event("cavmae_delivery")
    airflow.wait(lambda: len(airflow.runs("cavmae_new_data")) == looks + 1)
    look = airflow.runs("cavmae_new_data")[-1]["dag_run_id"]
    airflow.ended("cavmae_new_data", look)
    assert airflow.tasks("cavmae_new_data", look) == {"look": "skipped"} and len(airflow.runs(RETRAIN)) == before[0]
    airflow.asset_event("cavmae_data")
    airflow.wait(lambda: len(airflow.runs(RETRAIN)) == before[0] + 1)
    run = airflow.runs(RETRAIN)[-1]["dag_run_id"]
    assert airflow.ended(RETRAIN, run, 300)["state"] == "success"
    assert kubeflow.states()[before[1] :] == ["SUCCEEDED"] and len(airflow.runs(RETRAIN)) == before[0] + 1


def test_a_registry_that_no_pod_would_see_is_refused_before_anything_is_sent(airflow: Airflow, kubeflow: RunningKubeflow) -> None:
    sent = kubeflow.writes()
    run = airflow.start_run(RETRAIN, registry="models/registry")
    assert airflow.ended(RETRAIN, run)["state"] == "failed"
    tasks = airflow.tasks(RETRAIN, run)
    assert (tasks["choose"], tasks["kubeflow"]) == ("failed", "upstream_failed")
    assert "cavmae_registry to s3://bucket/prefix" in airflow.log(RETRAIN, run, "choose")
    assert kubeflow.writes() == sent


def test_the_form_refuses_what_it_does_not_know(airflow: Airflow) -> None:
    for wrong in ({"rule": "best"}, {"margin": "much"}, {"fields": 1}, {"fields": [1]}, {"registry": 3}):
        assert airflow.refused(RETRAIN, **wrong), wrong
