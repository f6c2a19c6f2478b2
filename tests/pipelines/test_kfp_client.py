"""The fake Kubeflow against kfp's own client: what that sends and understands is what ours sends and understands."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from pipelines.kubeflow import Kubeflow
from pipelines.package import Package
from pipelines.parameters import read_form
from pipelines.schedules import Plan, schedule
from pipelines.submission import experiment_id, start_run, upload
from tests.pipelines.fake_kubeflow import API, FakeKubeflow


@pytest.fixture
def official(fake: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """kfp's client, without the files that it reads in a home folder."""
    from kfp.client import Client

    monkeypatch.setattr(Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Client(host=fake.url, namespace="me")


def test_the_client_of_kfp_gets_along_with_the_fake(fake: FakeKubeflow, official: Any, toy: Path) -> None:
    pipeline = official.upload_pipeline(str(toy), pipeline_name="one")
    version = official.upload_pipeline_version(str(toy), "second", pipeline_name="one")
    experiment = official.create_experiment("e")
    run = official.run_pipeline(
        experiment.experiment_id,
        "night",
        params={"a": 1},
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    recurring = official.create_recurring_run(
        experiment.experiment_id,
        "nightly",
        cron_expression="0 0 3 * * *",
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    official.disable_recurring_run(recurring.recurring_run_id)
    official.terminate_run(run.run_id)
    assert official.get_run(run.run_id).state == "CANCELING"
    assert official.list_recurring_runs(namespace="me").recurring_runs[0].status == "DISABLED"
    official.delete_recurring_run(recurring.recurring_run_id)


def test_ours_sends_what_kfps_sends(fake: FakeKubeflow, official: Any, api: Kubeflow, toy: Path) -> None:
    package = Package("one", toy, "v1", read_form(toy), {}, "trainer")
    uploaded = upload(api, package)
    experiment = experiment_id(api, "e")
    start_run(api, uploaded, experiment, "night", package, {"a": 1, "b": "x"}, [])
    schedule(api, "nightly", Plan("0 0 3 * * *", 2, catch_up=False), uploaded, experiment, package, {"a": 1}, [])
    ours = [*fake.sent]
    fake.sent.clear()
    references = {"pipeline_id": uploaded.pipeline_id, "version_id": uploaded.version_id, "service_account": "trainer"}
    official.upload_pipeline_version(str(toy), "v2", pipeline_id=uploaded.pipeline_id)
    official.run_pipeline(experiment, "night", params={"a": 1, "b": "x"}, **references)
    official.create_recurring_run(
        experiment,
        "nightly",
        cron_expression="0 0 3 * * *",
        max_concurrency=2,
        no_catchup=True,
        params={"a": 1},
        enabled=False,
        **references,
    )
    for path in ("/runs", "/recurringruns"):
        mine, theirs = (
            next(sent.body for sent in side if sent.method == "POST" and sent.path == API + path) for side in (ours, fake.sent)
        )
        mine = {key: value for key, value in mine.items() if key != "description"}
        if "max_concurrency" in theirs:
            theirs["max_concurrency"] = str(theirs["max_concurrency"])
        assert mine == theirs
    mine, theirs = (next(sent for sent in side if sent.path.endswith("upload_version")) for side in (ours, fake.sent))
    assert mine.body == theirs.body
    assert {key: mine.query[key] for key in ("name", "pipelineid")} == {**theirs.query, "name": "v1"}


def test_kfps_client_understands_what_ours_made(fake: FakeKubeflow, official: Any, api: Kubeflow, toy: Path) -> None:
    package = Package("one", toy, "v1", read_form(toy), {}, None)
    uploaded = upload(api, package)
    run_id, _ = start_run(api, uploaded, experiment_id(api, "e"), None, package, {"a": [1, {"b": None}]}, [])
    assert official.get_pipeline_id("one") == uploaded.pipeline_id
    run = official.get_run(run_id)
    assert run.runtime_config.parameters == {"a": [1, {"b": None}]}
    assert run.pipeline_version_reference.pipeline_version_id == uploaded.version_id
