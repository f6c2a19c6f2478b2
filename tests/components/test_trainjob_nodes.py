"""A TrainJob whose nodes really run: torchrun on two machines that are processes here, over gloo."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cavmae.errors import InputError, Interrupted, StepFailed
from components.trainjob import ClusterOptions, run_trainjob
from tests.components.api_server import ApiServer, wait_until
from tests.components.machines import Machines
from tests.components.stand_in import stand_in

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    server = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(server.write_config(tmp_path / "kubeconfig")))
    stand_in(tmp_path, monkeypatch)
    for name in ("dataset", "start", "shared", "machines"):
        (tmp_path / name).mkdir()
    yield server
    server.close()
    assert server.wrong == []


@pytest.fixture
def machines(server: ApiServer, tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(server, tmp_path / "machines")
    yield machines
    machines.stop()


def train(folder: Path, *words: str, gpus: int = 1) -> None:
    run_trainjob(
        "pretrain",
        words,
        {"dataset": folder / "dataset", "start": folder / "start"},
        {"model": folder / "out" / "model", "curves": folder / "out" / "curves"},
        image="image",
        nodes=2,
        gpus=gpus,
        run_id="run",
        options=ClusterOptions.model_validate({"shared_path": folder / "shared", "poll_s": 0.1}),
    )


def test_two_nodes_of_two_processes_work_together(machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "--set=note=$(KUBERNETES_PORT) $$ $HOME", gpus=2)
    assert (tmp_path / "out" / "model" / "sum").read_text() == "10 of 4"  # 1 + 2 + 3 + 4
    assert "words|pretrain|--set=note=$(KUBERNETES_PORT) $$ $HOME|" in capsys.readouterr().out
    assert list((tmp_path / "shared" / "trainjobs").iterdir()) == []


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("wrong", InputError, r"node [01] \(pod .*\) exit code 2: params.yaml: 'lrr' is unknown; "),
        ("crash", StepFailed, r"node 1 \(pod .*\) exit code 1: RuntimeError: CUDA out of memory.; "),
        ("kill", StepFailed, r"node 1 \(pod .*\) exit code 1: process 0 of 1 was killed and could say nothing"),
    ],
)
def test_a_node_s_own_words_reach_the_step(
    machines: Machines, tmp_path: Path, how: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train(tmp_path, f"--how={how}", "--rank=1")
    assert not (tmp_path / "out").exists()


def test_a_stopped_step_lets_its_nodes_save_and_the_next_try_goes_on(
    server: ApiServer, machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        wait_until(lambda: len(list((tmp_path / "shared").rglob("ready-*"))) == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        train(tmp_path, "--how=wait")
    thread.join()
    assert sorted(path.name for path in (tmp_path / "shared").rglob("step-*")) == ["step-0", "step-1"]
    train(tmp_path, "--how=wait")
    assert "resumed at step 7" in capsys.readouterr().out
    assert (tmp_path / "out" / "model").is_dir()
    assert machines.runs == server.made("POST") == 2
