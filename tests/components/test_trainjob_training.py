"""The real step on several processes and several nodes gives the model that one process gives."""

import importlib.util
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cavmae.errors import Interrupted
from components.torchrun import run_processes
from components.trainjob import ClusterOptions, run_trainjob
from tests.components.api_server import ApiServer, wait_until
from tests.components.machines import Machines
from tests.conftest import REPOSITORY
from tests.training import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("cavmae.training.joining", "cavmae.stores")),
        reason="training takes one process only, or shards lie beside their index only",
    ),
]
WORDS = [f"--set={word}" for word in tiny.arguments("pretrain")[4::2]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def machines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    server = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(server.write_config(folder / "kubeconfig")))
    for name in ("shared", "machines"):
        (folder / name).mkdir()
    machines = Machines(server, folder / "machines")
    yield machines
    machines.stop()
    server.close()
    assert server.wrong == []


def losses(curves: Path) -> list[float]:
    """The training loss of every epoch."""
    head, *rows = [line.split("\t") for line in curves.read_text().splitlines()]
    return [float(row[head.index("train_loss")]) for row in rows]


def dataset(folder: Path) -> Path:
    """The tiny data set as it is in a cluster, where its index travels and its shards do not: they lie at a fixed place."""
    made = tiny.tiny().dataset
    copied = folder / "dataset"
    shutil.copytree(made, copied, dirs_exist_ok=True)
    location = json.loads((copied / "location.json").read_text())
    location["root"] = os.path.normpath(made / location["root"])
    (copied / "location.json").write_text(json.dumps(location))
    return copied


def on_two_nodes(folder: Path, *words: str) -> None:
    run_trainjob(
        "pretrain",
        [*WORDS, *words],
        {"dataset": dataset(folder), "start": tiny.tiny().adapted},
        {"model": folder / "out" / "model", "curves": folder / "out" / "curves"},
        image="image",
        nodes=2,
        gpus=0,
        run_id="run",
        options=ClusterOptions.model_validate({"shared_path": folder / "shared", "poll_s": 0.1}),
    )


def in_one_process(folder: Path, **changes: int) -> list[float]:
    tiny.train("pretrain", folder / "alone", tiny.tiny().dataset, tiny.tiny().adapted, **changes)
    return losses(folder / "alone" / "curves.tsv")


def test_two_processes_of_one_machine_train_what_one_does(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = tiny.tiny()
    places = [f"--dataset={made.dataset}", f"--start={made.adapted}", "--model=m", "--curves=c", "--events=e"]
    run_processes("pretrain", [*WORDS, *places], 2)
    assert losses(Path("c")) == pytest.approx(in_one_process(folder), rel=1e-4)
    assert (folder / "m" / "model.safetensors").exists()
    assert "2 processes train together" in capfd.readouterr().err


def test_two_nodes_train_what_one_process_does(machines: Machines, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_two_nodes(folder)
    assert losses(folder / "out" / "curves") == pytest.approx(in_one_process(folder), rel=1e-4)
    assert json.loads((folder / "out" / "model" / "lineage.json").read_text())["step"] == "pretrain"
    assert "2 processes train together" in capsys.readouterr().out
    assert machines.runs == 1


def test_nodes_that_are_stopped_save_and_the_next_try_goes_on(
    machines: Machines, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        wait_until(lambda: any("epoch 6:" in path.read_text() for path in (folder / "machines").glob("node-0.log")), 120)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        on_two_nodes(folder, "--set=epochs=60")
    thread.join()
    assert list((folder / "shared").rglob("step-*.pt"))
    on_two_nodes(folder, "--set=epochs=60")
    assert "resumed at step" in capsys.readouterr().out
    assert losses(folder / "out" / "curves") == pytest.approx(in_one_process(folder, epochs=60), rel=1e-3)
