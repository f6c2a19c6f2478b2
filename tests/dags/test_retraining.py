"""A real Airflow retrains on new data once, on unchanged data never, and through the loss of its scheduler."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset.sample import plan
from tests.conftest import REPOSITORY
from tests.dags.airflow_here import ENVIRONMENT, NEEDED, Airflow
from tests.dags.small_project import history, make_project
from tests.dvc.project import CLIPS, FIRST, put_videos

pytestmark = NEEDED


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("airflow") / "project")


@pytest.fixture(scope="module")
def airflow(project: Path) -> Iterator[Airflow]:
    started = Airflow(project.parent / "home", project)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def told_of(project: Path, number: int) -> tuple[int, int]:
    """In how many versions of the data, and in how many of the registry, a clip is; nothing must be left that is not known."""
    words = [sys.executable, "-m", "cavmae", "audit", "--clip", plan(CLIPS)[number].name, "--json"]
    found = json.loads(subprocess.run(words, cwd=project, check=True, capture_output=True, text=True).stdout)
    assert found["unknown"] == []
    return len(found["data"]), sum("version" in model["model"] for model in found["models"])


def retrained(airflow: Airflow, number: int) -> dict[str, Any]:
    """The run of that number, when it is over."""
    deadline = time.monotonic() + 60
    while len(runs := airflow.runs("cavmae_retrain")) < number:
        assert time.monotonic() < deadline, airflow.words()
        time.sleep(1)
    return airflow.ended("cavmae_retrain", runs[number - 1]["dag_run_id"], 600)


def test_new_data_is_trained_on_once_also_where_the_scheduler_is_lost(airflow: Airflow, project: Path) -> None:
    airflow.trigger("cavmae_new_data")  # the schedule's own first look may have come before it
    first = retrained(airflow, 1)
    assert first["state"] == "success", airflow.tasks("cavmae_retrain", first["dag_run_id"])
    assert [entry["run_id"] for entry in history(project)] == [first["dag_run_id"]]
    assert airflow.result("cavmae_retrain", first["dag_run_id"], "report").startswith("promoted ")
    for task in ("compare", "promote"):
        log = airflow.log("cavmae_retrain", first["dag_run_id"], task)
        assert "there is no champion" in log, log

    look = airflow.trigger("cavmae_new_data")
    assert airflow.tasks("cavmae_new_data", look["dag_run_id"]) == {"look": "skipped"}
    assert len(airflow.runs("cavmae_retrain")) == 1

    put_videos(project, FIRST, FIRST + 4)
    looks = [airflow.trigger("cavmae_new_data") for _ in range(2)]
    states = [airflow.tasks("cavmae_new_data", look["dag_run_id"])["look"] for look in looks]
    assert states == ["success", "skipped"]
    deadline = time.monotonic() + 120
    while (
        len(runs := airflow.runs("cavmae_retrain")) < 2
        or airflow.tasks("cavmae_retrain", runs[1]["dag_run_id"])["train"] != "running"
    ):
        assert time.monotonic() < deadline, airflow.words()
        time.sleep(0.5)
    airflow.kill("scheduler")  # and the task that it runs
    airflow.begin("scheduler")
    second = retrained(airflow, 2)
    assert second["state"] == "success", airflow.tasks("cavmae_retrain", second["dag_run_id"])
    assert [entry["run_id"] for entry in history(project)] == [first["dag_run_id"], second["dag_run_id"]]
    old, new = told_of(project, FIRST - 1), told_of(project, FIRST)  # nobody has committed anything meanwhile
    assert old == (2, 2) and new == (1, 1)
    look = airflow.trigger("cavmae_new_data")
    assert airflow.tasks("cavmae_new_data", look["dag_run_id"]) == {"look": "skipped"}
    assert len(airflow.runs("cavmae_retrain")) == 2

    # told of while the run before it had not begun, which then trained on it
    airflow.asset_event("cavmae_data", version=airflow.result("cavmae_retrain", second["dag_run_id"], "settle"))
    third = retrained(airflow, 3)
    tasks = airflow.tasks("cavmae_retrain", third["dag_run_id"])
    assert third["state"] == "success" and set(tasks.values()) == {"skipped"}, tasks
    assert len(history(project)) == 2


def test_the_files_import_fast_and_without_the_libraries_of_training() -> None:
    program = (
        "import sys, time, airflow; from airflow.sdk import dag; start = time.monotonic(); import dags.new_data, dags.retrain; "
        "print(time.monotonic() - start); print([name for name in ('torch', 'kfp', 'pandas', 'cavmae') if name in sys.modules])"
    )
    done = subprocess.run(
        [str(ENVIRONMENT / "bin" / "python"), "-c", program], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    seconds, loaded = done.stdout.splitlines()[-2:]
    assert float(seconds) < 2 and loaded == "[]"
