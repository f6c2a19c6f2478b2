"""A TrainJob that fails, or that a cluster refuses: what the step says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from components.trainjob import ClusterOptions, run_trainjob
from tests.components.api_server import ApiServer, ended, status_of
from tests.components.following import failing, running, train


def test_a_run_without_an_id_is_refused(server: ApiServer, place: Path) -> None:
    with pytest.raises(InputError, match="set CAVMAE_RUN_ID"):
        train(place, run_id=None)
    assert server.made("POST") == 0


def test_a_failed_job_is_told_in_the_nodes_words_and_deleted(server: ApiServer, place: Path) -> None:
    message = "torch.distributed noise\ncavmae pretrain: the loss is nan at step 7; lower lr\n"
    nodes = ({"node": 0, "state": ended(75, "cavmae pretrain: stopped at step 6\n")}, {"node": 1, "state": ended(1, message)})
    server.play = [running("epoch 1"), failing(*nodes)]
    with pytest.raises(StepFailed) as caught:
        train(place)
    job = server.posted[0]["metadata"]["name"]
    assert str(caught.value) == (
        f"TrainJob {job} failed; node 0 (pod {job}-node-0-0-0) exit code 75: stopped at step 6; node 1 (pod {job}-node-0-1-0) "
        "exit code 1: the loss is nan at step 7; lower lr; jobset failed due to one or more job failures"
    )
    assert server.made("DELETE") == 1
    assert not (place / "out").exists()
    assert (place / "shared" / "trainjobs" / job / "work").is_dir()  # what a retry goes on from


def test_wrong_input_on_a_node_is_wrong_input(server: ApiServer, place: Path) -> None:
    server.play = [failing({"node": 0, "state": ended(2, "cavmae pretrain: unknown parameter 'lrr'")})]
    with pytest.raises(InputError, match="exit code 2: unknown parameter 'lrr'"):
        train(place)


def test_a_message_that_kubernetes_did_not_keep_is_read_from_the_log(server: ApiServer, place: Path) -> None:
    def act(server: ApiServer, job: str) -> None:
        server.say(server.pod(job, 1, "Failed", state=ended(1)), "cavmae pretrain: disk full", "E torch: failed")
        server.condition(job, "Failed", "x")

    server.play = [act]
    with pytest.raises(StepFailed, match=r"node 1 \(.*\) exit code 1: disk full; x"):
        train(place)


def test_nodes_that_could_not_speak_are_told_by_kubernetes(server: ApiServer, place: Path) -> None:
    server.play = [
        failing(
            {"node": 0, "state": ended(137, reason="OOMKilled")},
            {"node": 1, "reason": "Evicted", "message": "The node was low on resource: memory."},
            {"node": 2, "state": ended(1)},
        )
    ]
    with pytest.raises(StepFailed) as caught:
        train(place)
    assert "exit code 137: OOMKilled;" in str(caught.value)
    assert "was taken away: Evicted The node was low on resource: memory.;" in str(caught.value)
    assert "exit code 1: it said nothing;" in str(caught.value)


def test_only_the_last_attempt_counts_and_pods_that_are_gone_are_remembered(server: ApiServer, place: Path) -> None:
    def first(server: ApiServer, job: str) -> None:
        server.pod(job, 0, "Failed", state=ended(75, "preempted"))

    def second(server: ApiServer, job: str) -> None:
        server.pods.clear()
        server.pod(job, 1, "Failed", attempt=1, state=ended(1, "cavmae pretrain: real reason"))

    def gone(server: ApiServer, job: str) -> None:
        server.pods.clear()
        server.condition(job, "Failed", "x")

    server.play = [first, second, gone]
    with pytest.raises(StepFailed) as caught:
        train(place)
    assert "real reason" in str(caught.value) and "preempted" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, "404 page not found\n", "the cluster knows no trainjobs.trainer.kubeflow.org; install Kubeflow Trainer"),
        (
            403,
            'trainjobs is forbidden: User "system:serviceaccount:team:default-editor" cannot create resource "trainjobs"',
            r"create trainjobs.* in namespace team: .*cannot create resource .*\(403\); apply manifests/base",
        ),
        (403, 'admission webhook "v" denied the request: spec.runtimeRef: no such runtime', r"no such runtime \(403\)$"),
        (422, "spec.trainer.numNodes: Invalid value", r"spec.trainer.numNodes: Invalid value \(422\)$"),
        (401, "Unauthorized", r"Unauthorized \(401\)$"),
    ],
)
def test_what_the_cluster_refuses_is_one_line(server: ApiServer, place: Path, status: int, body: str, message: str) -> None:
    server.faults = [("POST", status, body if body.startswith("404") else json.dumps(status_of(status, body)))]
    with pytest.raises(InputError, match=message) as caught:
        train(place)
    assert "\n" not in str(caught.value)
    assert not (place / "out").exists()


def test_a_cluster_without_trainer_is_found_out_before_anything_is_copied(server: ApiServer, place: Path) -> None:
    server.faults = [("GET", 404, "404 page not found\n")]
    with pytest.raises(InputError, match="install Kubeflow Trainer"):
        train(place)
    assert list((place / "shared").iterdir()) == []


def test_a_trainer_that_is_too_old_is_found_out(server: ApiServer, place: Path) -> None:
    server.unknown = ["runtimePatches"]
    with pytest.raises(InputError, match=r"older than 2\.2"):
        train(place)
    assert server.made("DELETE") == 1


def test_a_node_that_cannot_pull_its_image_fails_the_step_in_time(server: ApiServer, place: Path) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry/x"'}}
    server.play = [lambda server, job: server.pod(job, 1, "Pending", state=waiting) and None]
    with pytest.raises(StepFailed, match='node 1: cannot start: ImagePullBackOff: Back-off pulling image "registry/x"'):
        train(place, start_s=0.2)
    assert server.made("DELETE") == 1


def test_an_output_that_the_nodes_did_not_write_is_named(server: ApiServer, place: Path) -> None:
    server.play = [lambda server, job: server.condition(job, "Complete", "x")]
    with pytest.raises(StepFailed, match="left no output 'model'"):
        train(place)
    assert not (place / "out").exists()


def test_what_cannot_work_is_refused_before_the_cluster_is_asked(
    server: ApiServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ClusterOptions.model_validate({"shared_path": place / "shared"})
    good: dict[str, Any] = {"inputs": {"dataset": place, "start": place}, "outputs": {"model": place / "m"}, "nodes": 2}
    for change, message in [
        ({"nodes": 1}, "1 nodes; a TrainJob is for 2 or more"),
        ({"inputs": {"dataset": place}}, "input 'start' is missing"),
        ({"outputs": {"modl": place}}, "no input or output 'modl'; it has curves, dataset, events, model, start"),
        (
            {"options": ClusterOptions.model_validate({"shared_path": place / "nowhere"})},
            "nowhere: no such folder; .*shared_claim",
        ),
        ({"arguments": ["x"] * 200}, "fewer than 128"),
    ]:
        given: dict[str, Any] = {"arguments": [], "options": options, **good, **change}
        with pytest.raises(InputError, match=message):
            run_trainjob("pretrain", image="i", gpus=1, run_id="r", **given)
    monkeypatch.setenv("KUBECONFIG", str(place / "no-such-file"))
    with pytest.raises(InputError, match="none can be reached from here"):
        run_trainjob("pretrain", [], image="i", gpus=1, run_id="r", options=options, **good)
    assert server.asked == []


def test_an_input_that_is_not_there_is_named(server: ApiServer, place: Path) -> None:
    (place / "start" / "model.safetensors").unlink()
    (place / "start").rmdir()
    with pytest.raises(InputError, match="start: no such file or folder"):
        train(place)
    assert server.made("POST") == 0
