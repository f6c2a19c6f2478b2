"""A TrainJob from its creation to its removal, against an API server that plays a cluster."""

import json
import logging
import time
from pathlib import Path

import pytest

from pipelines.manifests import check_document
from tests.components.api_server import ApiServer
from tests.components.following import complete, running, train


def test_a_job_is_made_followed_and_removed_and_its_outputs_come_back(
    server: ApiServer, place: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "components")
    server.play = [running("epoch 1"), running("epoch 2", "epoch 2"), running(), complete]
    train(place)
    assert (place / "out" / "model" / "model.safetensors").read_bytes() == b"weights trained"
    assert (place / "out" / "curves").read_text() == "epoch\tloss\n"
    assert capsys.readouterr().out == "epoch 1\nepoch 2\nepoch 2\n"
    assert "node 1: runs on gpu-1" in caplog.text
    assert server.made("POST") == server.made("DELETE") == 1
    assert list((place / "shared" / "trainjobs").iterdir()) == []


def test_the_job_says_what_runs_where(server: ApiServer, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_CHECKPOINTS", "s3://bucket/checkpoints")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
    for name in ("AWS_SECRET_ACCESS_KEY", "CAVMAE_S3_SECRET_ACCESS_KEY", "CAVMAE_S3_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "very-secret")
    server.play = [complete]
    train(
        place,
        shm="16Gi",
        node_selector={"gpu": "h100"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 5}],
        pull_secrets=["registry"],
        service_account="trainer",
        env={"NCCL_DEBUG": "INFO"},
        secret_env={"AWS_SECRET_ACCESS_KEY": {"secret": "cavmae-s3", "key": "secret"}},
        labels={"kueue.x-k8s.io/queue-name": "gpus"},
    )
    job = server.posted[0]
    assert check_document(job) == []
    assert "very-secret" not in json.dumps(job)
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "32", "memory": "128Gi", "nvidia.com/gpu": "4"},
        "limits": {"memory": "128Gi", "nvidia.com/gpu": "4"},
    }
    assert trainer["command"] + trainer["args"][:1] == ["python", "-m", "components.torchrun", "pretrain"]
    # Kubernetes would put the secret there
    assert trainer["args"][1:3] == ["--set=lr=0.1", "--set=note=$$(AWS_SECRET_ACCESS_KEY) $$HOME"]
    folder = place / "shared" / "trainjobs" / job["metadata"]["name"]
    assert trainer["args"][3:] == [
        f"--dataset={folder}/inputs/dataset",
        f"--start={folder}/inputs/start",
        f"--model={folder}/outputs/model",
        f"--curves={folder}/outputs/curves",
        f"--events={folder}/outputs/events",
    ]
    assert {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in trainer["env"]} == {
        "CAVMAE_CHECKPOINTS": "s3://bucket/checkpoints",
        "AWS_ENDPOINT_URL_S3": "http://s3",
        "CAVMAE_WORK": f"{folder}/work",
        "CAVMAE_FOLLOWED": f"{folder}/followed",
        "NCCL_DEBUG": "INFO",
        "AWS_SECRET_ACCESS_KEY": {"secretKeyRef": {"name": "cavmae-s3", "key": "secret"}},
    }
    assert job["metadata"]["labels"] == {
        "kueue.x-k8s.io/queue-name": "gpus",
        "cavmae.pipelines/step": "pretrain",
        "cavmae.pipelines/run": "run-1",
    }
    replicated = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    pod = replicated["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu": "h100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]
    assert (pod["imagePullSecrets"], pod["serviceAccountName"]) == ([{"name": "registry"}], "trainer")
    assert pod["volumes"][1] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == [str(place / "shared"), "/dev/shm"]


def test_nodes_without_gpus_run_one_process_each(server: ApiServer, place: Path) -> None:
    server.play = [complete]
    train(place, gpus=0, cpu="2", memory="3Gi", shm=None)
    assert server.posted[0]["spec"]["trainer"]["numProcPerNode"] == 1
    assert server.posted[0]["spec"]["trainer"]["resourcesPerNode"] == {
        "requests": {"cpu": "2", "memory": "3Gi"},
        "limits": {"memory": "3Gi"},
    }


def test_the_name_is_short_the_same_for_the_same_run_and_another_for_another(server: ApiServer, place: Path) -> None:
    names = []
    for run_id in ("run-1", "run-1", "run-2"):
        server.play = [complete]
        train(place, run_id=run_id)
        names.append(server.posted[-1]["metadata"]["name"])
        server.jobs.clear()
    assert names[0] == names[1] != names[2]
    assert all(len(name) < 40 for name in names)


def test_the_run_and_the_owner_are_read_from_the_step_s_own_pod(
    server: ApiServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", name := server.pod("step", 0, "Running"))
    monkeypatch.setenv("KFP_POD_UID", "uid-7")
    server.pods[name]["metadata"]["labels"]["pipeline/runid"] = "6e0c"
    server.play = [complete]
    train(place, run_id=None)
    assert server.posted[0]["metadata"]["labels"]["cavmae.pipelines/run"] == "6e0c"
    assert server.posted[0]["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "uid-7"}]


def test_the_log_of_the_first_node_goes_on_after_a_restart(
    server: ApiServer, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def restarted(server: ApiServer, job: str) -> None:
        server.pods.clear()
        server.say(server.pod(job, 0, "Running", attempt=1, state={"running": {}}), "resumed at step 5")

    server.play = [running("step 5"), restarted, complete]
    train(place)
    assert capsys.readouterr().out == "step 5\nresumed at step 5\n"


def test_a_node_that_waits_for_a_machine_is_waited_for(server: ApiServer, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "components")
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
    looks: list[float] = []

    def pending(server: ApiServer, job: str) -> None:
        server.pod(job, 0, "Pending", conditions=[condition])
        looks.append(time.monotonic())
        if looks[-1] - looks[0] > 0.5:
            server.play = [complete]

    server.play = [pending]
    train(place, start_s=0.1)
    assert caplog.text.count("waits for a machine: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.") == 1


def test_a_suspended_job_is_told_of_once(server: ApiServer, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "components")

    def resumed(server: ApiServer, job: str) -> None:
        server.jobs[job]["status"]["conditions"][0]["status"] = "False"

    server.play = [
        lambda server, job: server.condition(job, "Suspended", "x"),
        lambda server, job: None,
        resumed,
        complete,
    ]
    train(place)
    assert caplog.text.count("is suspended") == caplog.text.count("is no longer suspended") == 1


def test_a_machine_whose_log_cannot_be_read_holds_nothing_up_and_nothing_is_lost(
    server: ApiServer, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(server: ApiServer, job: str) -> None:
        server.silent_machines = 1

    server.play = [running("one"), silent, running("two"), complete]
    train(place)
    assert capsys.readouterr().out == "one\ntwo\n"


def test_lines_are_written_as_they_were(server: ApiServer, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.play = [running("50 %\r100 % done", "\u2028 ä \x1b[1m", "", " indented"), complete]
    train(place)
    assert capsys.readouterr().out == "50 %\r100 % done\n\u2028 ä \x1b[1m\n\n indented\n"
