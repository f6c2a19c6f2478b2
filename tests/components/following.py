"""What tests of a TrainJob's follower share: a step that is run, and acts for the server to play."""

from pathlib import Path
from typing import Any

import pytest

from components.trainjob import ClusterOptions, run_trainjob
from components.trainjob.cluster import Cluster
from tests.components.api_server import Act, ApiServer

WORDS = ["--set=lr=0.1", "--set=note=$(AWS_SECRET_ACCESS_KEY) $HOME"]


def quick(monkeypatch: pytest.MonkeyPatch, patience_s: float = 2) -> None:
    """Let the cluster's silence be noticed within a test."""
    monkeypatch.setattr(Cluster.__init__, "__defaults__", (patience_s, 0.05))


def train(place: Path, step: str = "pretrain", nodes: int = 2, gpus: int = 4, run_id: str | None = "run-1", **more: Any) -> None:
    options = {"shared_path": place / "shared", "poll_s": 0.02, **more}
    run_trainjob(
        step,
        WORDS,
        {"dataset": place / "dataset", "start": place / "start"},
        {"model": place / "out" / "model", "curves": place / "out" / "curves"},
        image="registry/cavmae-train:abc",
        nodes=nodes,
        gpus=gpus,
        run_id=run_id,
        options=ClusterOptions.model_validate(options),
    )


def words(job: dict[str, Any], name: str) -> str:
    """The value of a flag in a job's command."""
    return next(word.partition("=")[2] for word in job["spec"]["trainer"]["args"] if word.startswith(f"--{name}="))


def write_outputs(server: ApiServer, job: str) -> None:
    """What the nodes do: a model folder and curves, where the command says."""
    model = Path(words(server.jobs[job], "model"))
    model.mkdir(parents=True, exist_ok=True)
    start = Path(words(server.jobs[job], "start"))
    (model / "model.safetensors").write_bytes((start / "model.safetensors").read_bytes() + b" trained")
    Path(words(server.jobs[job], "curves")).write_text("epoch\tloss\n")


def running(*lines: str, nodes: int = 2) -> Act:
    def act(server: ApiServer, job: str) -> None:
        for node in range(nodes):
            pod = server.pod(job, node, "Running", state={"running": {}})
            server.say(pod, *(line if node == 0 else f"not shown: {line}" for line in lines))

    return act


def complete(server: ApiServer, job: str) -> None:
    write_outputs(server, job)
    server.condition(job, "Complete", "jobset completed successfully")


def failing(*pods: dict[str, Any], message: str = "jobset failed due to one or more job failures") -> Act:
    def act(server: ApiServer, job: str) -> None:
        for pod in pods:
            server.pod(job, pod["node"], "Failed", **{key: value for key, value in pod.items() if key != "node"})
        server.condition(job, "Failed", message)

    return act


def left_behind(server: ApiServer, place: Path, **more: Any) -> str:
    """Leave the job of a step whose pod vanished without a word; return its name."""
    server.play = [complete]
    train(place, **more)
    job = server.posted.pop()
    name: str = job["metadata"]["name"]
    server.jobs[name] = job
    server.play = []
    server.asked.clear()
    return name
