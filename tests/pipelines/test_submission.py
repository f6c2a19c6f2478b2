"""Versions, experiments and runs: made once, found again, and never started twice."""

from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from pipelines.kubeflow import Kubeflow
from pipelines.package import Package
from pipelines.parameters import read_form
from pipelines.submission import Uploaded, experiment_id, start_run, upload
from tests.pipelines.fake_kubeflow import API, FakeKubeflow

VALUES = {"source": "s3://videos", "parts": 4}


@pytest.fixture
def package(toy: Path) -> Package:
    return Package("cavmae-retrain", toy, "0123456789ab-01234567", read_form(toy), {"data": "d@sha256:1"}, None)


@pytest.fixture
def uploaded(api: Kubeflow, package: Package) -> Uploaded:
    return upload(api, package)


@pytest.fixture
def experiment(api: Kubeflow) -> str:
    return experiment_id(api, "nightly")


def start(
    api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package, name: str | None = None, **values: Any
) -> tuple[str, bool]:
    return start_run(api, uploaded, experiment, name, package, {**VALUES, **values}, ["source is videos at 12"])


def test_the_first_upload_makes_a_pipeline_and_its_version(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    uploaded = upload(api, package)
    assert fake.writes() == [f"POST {API}/pipelines", f"POST {API}/pipelines/upload_version"]
    version = fake.versions[uploaded.version_id]
    assert (version["name"], version["pipeline_id"]) == (package.version, uploaded.pipeline_id)
    assert fake.pipelines[uploaded.pipeline_id]["name"] == "cavmae-retrain"
    assert fake.packages[uploaded.version_id] == package.path.read_text()
    assert "0123456789ab" in version["description"] and "d@sha256:1" in version["description"]


def test_the_same_package_is_not_uploaded_twice_and_another_is_a_version_of_the_same_pipeline(
    fake: FakeKubeflow, api: Kubeflow, package: Package, uploaded: Uploaded
) -> None:
    assert upload(api, package) == uploaded
    other = Package(package.pipeline, package.path, "0123456789ab-89abcdef", package.form, package.images, None)
    assert upload(api, other).pipeline_id == uploaded.pipeline_id
    assert len(fake.pipelines) == 1 and len(fake.versions) == 2


@pytest.mark.parametrize("act", ["drop", 504, 500])
@pytest.mark.parametrize("what", ["pipelines$", "upload_version", "experiments"])
def test_what_was_made_though_nobody_said_so_is_found(
    fake: FakeKubeflow, api: Kubeflow, package: Package, what: str, act: int | str
) -> None:
    fake.mood(f"POST .*{what}", act, late=True, times=1)
    upload(api, package)
    experiment_id(api, "nightly")
    assert (len(fake.pipelines), len(fake.versions), len(fake.experiments)) == (1, 1, 1)
    assert len(fake.writes()) == 3


@pytest.mark.parametrize("what", ["pipelines$", "upload_version"])
def test_what_was_not_made_is_said_and_not_sent_again(fake: FakeKubeflow, api: Kubeflow, package: Package, what: str) -> None:
    fake.mood(f"POST .*{what}", "drop")
    with pytest.raises(StepFailed, match=r"is not there: run the command again"):
        upload(api, package)
    assert len([sent for sent in fake.writes() if sent.endswith(what.rstrip("$"))]) == 1


def test_somebody_who_was_faster_has_made_it(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    def faster(handler: Any) -> None:
        fake._add_pipeline("cavmae-retrain", "", "")
        handler.answer(409, {"message": "Already exist error"})

    fake.mood("POST .*/pipelines$", faster, times=1)
    upload(api, package)
    assert len(fake.pipelines) == 1


def test_an_archived_experiment_is_refused(fake: FakeKubeflow, api: Kubeflow, experiment: str) -> None:
    assert experiment_id(api, "nightly") == experiment
    fake.experiments[experiment]["storage_state"] = "ARCHIVED"
    with pytest.raises(InputError, match="archived"):
        experiment_id(api, "nightly")


def test_a_run_has_its_version_parameters_and_description(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package
) -> None:
    run_id, before = start(api, uploaded, experiment, package)
    run = fake.runs[run_id]
    assert not before
    assert run["pipeline_version_reference"] == {"pipeline_id": uploaded.pipeline_id, "pipeline_version_id": uploaded.version_id}
    assert run["runtime_config"] == {"parameters": VALUES}
    assert run["experiment_id"] == experiment
    assert "source is videos at 12" in run["description"]
    assert "service_account" not in run


def test_a_run_gets_the_service_account_of_the_settings(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package
) -> None:
    with_account = Package(package.pipeline, package.path, package.version, package.form, package.images, "trainer")
    run_id, _ = start(api, uploaded, experiment, with_account)
    assert fake.runs[run_id]["service_account"] == "trainer"


def test_two_runs_without_a_name_are_two_runs(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package
) -> None:
    ids = {start(api, uploaded, experiment, package)[0] for _ in range(2)}
    assert len(ids) == 2 and len({run["display_name"] for run in fake.runs.values()}) == 2


def test_a_name_stands_for_one_run(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package
) -> None:
    first, _ = start(api, uploaded, experiment, package, "night")
    assert start(api, uploaded, experiment, package, "night") == (first, True)
    assert len(fake.runs) == 1


@pytest.mark.parametrize("name", ["", " "])
def test_a_blank_name_is_refused(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package, name: str
) -> None:
    with pytest.raises(InputError, match="blank"):
        start(api, uploaded, experiment, package, name)
    assert fake.runs == {}


def test_a_name_with_other_parameters_or_another_version_is_refused(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package
) -> None:
    first, _ = start(api, uploaded, experiment, package, "night")
    with pytest.raises(InputError, match=f"night.*{first}"):
        start(api, uploaded, experiment, package, "night", parts=5)
    with pytest.raises(InputError, match="another version"):
        start(api, Uploaded(uploaded.pipeline_id, "other"), experiment, package, "night")
    assert len(fake.runs) == 1


@pytest.mark.parametrize("name", [None, "night"])
@pytest.mark.parametrize("act", ["drop", 502, 500])
def test_a_run_that_was_started_though_nobody_said_so_is_found(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package, name: str | None, act: int | str
) -> None:
    fake.mood("POST .*/runs$", act, late=True)
    run_id, _ = start(api, uploaded, experiment, package, name)
    assert [*fake.runs] == [run_id]


def test_a_run_that_appears_late_is_waited_for(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package, pauses: list[float]
) -> None:
    hidden: dict[str, Any] = {}

    def hide(handler: Any) -> None:
        hidden.update(fake.runs)
        fake.runs.clear()
        handler.close_connection = True

    def show(handler: Any) -> None:
        fake.runs.update(hidden)
        handler.answer(200, {})

    fake.mood("POST .*/runs$", hide, late=True)
    fake.mood("GET .*/runs$", show, times=1)
    run_id, _ = start(api, uploaded, experiment, package)
    assert run_id in hidden and pauses == [0, 2]


@pytest.mark.parametrize("act", ["drop", 503])
def test_a_run_that_was_not_started_is_said_with_the_name_to_try_again_under(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, experiment: str, package: Package, act: int | str
) -> None:
    fake.mood("POST .*/runs$", act, times=1)
    with pytest.raises(StepFailed, match=r"submit again with --run-name 'night'"):
        start(api, uploaded, experiment, package, "night")
    assert fake.runs == {} and len(fake.bodies(f"POST {API}/runs")) == 1
    assert start(api, uploaded, experiment, package, "night")[1] is False


def test_a_refusal_is_no_reason_to_look_for_the_run(
    fake: FakeKubeflow, api: Kubeflow, uploaded: Uploaded, package: Package
) -> None:
    with pytest.raises(InputError, match="experiment not found"):
        start(api, uploaded, "no-such", package)


def test_an_answer_without_an_id_is_a_failure(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    fake.mood("POST .*/pipelines$", lambda handler: handler.answer(200, {"name": "x"}))
    with pytest.raises(StepFailed, match="without pipeline_id"):
        upload(api, package)


def test_in_a_namespace_everything_is_made_there(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    fake.multi_user = True
    there = Kubeflow(api.connection, "me")
    upload(there, package)
    experiment_id(there, "nightly")
    assert [item["namespace"] for item in (*fake.pipelines.values(), *fake.experiments.values())] == ["me", "me"]
