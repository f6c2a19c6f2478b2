"""A run that is asked to stop does so at once, wherever it is, with its state saved, and goes on to the same end."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cavmae.errors import Interrupted
from cavmae.training import engine as engines
from cavmae.training.batches import TrainBatch
from cavmae.training.engine import Engine
from cavmae.training.stopping import StopAsked, StopRequest
from tests.training.toy import Toy, toy_engine

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0]
SETTINGS: dict[str, Any] = {"epochs": 3, "checkpoint_s": 1e9, "keep_epochs": 2}


def send(*signals: signal.Signals) -> None:
    for one in signals:
        os.kill(os.getpid(), one)


class Asked(Toy):
    """Sends signals to this process at its n-th moment of a kind, which counts from 1."""

    def __init__(self, kind: str, number: int, *signals: signal.Signals) -> None:
        super().__init__(VALUES)
        self.left, self.kind, self.signals = number, kind, signals

    def moment(self, kind: str) -> None:
        if kind == self.kind:
            self.left -= 1
            if self.left == 0:
                send(*self.signals)

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        self.moment("loss")
        return super().loss(batch, device)

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        self.moment("validation")
        return super().validate(device, epoch)


def finished(folder: Path) -> tuple[list[Any], Engine, Toy]:
    toy = Toy(VALUES)
    engine = toy_engine(toy, folder, **SETTINGS)
    return engine.run("toy"), engine, toy


def ends_like_an_undisturbed_run(folder: Path, seen: int) -> None:
    """Run again; `seen` batches at most are left to be seen."""
    rows, engine, toy = finished(folder)
    right, undisturbed, _ = finished(folder / "undisturbed")
    assert rows == right and len(toy.seen) == seen
    for epoch in (2, 3):
        assert engine.epoch_weights(epoch).read_bytes() == undisturbed.epoch_weights(epoch).read_bytes()


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(("asked", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_in_a_validation(tmp_path: Path, number: int, asked: signal.Signals, code: int) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    engine = toy_engine(Asked("validation", number, asked), tmp_path, **SETTINGS)
    with pytest.raises(Interrupted, match=f"stopped at step {3 * number} of 9; run the same command") as raised:
        engine.run("toy")
    assert raised.value.exit_code == code
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    ends_like_an_undisturbed_run(tmp_path, seen=9 - 3 * number)


@pytest.mark.parametrize("number", [1, 2, 9])
def test_while_a_step_works_out_its_loss(tmp_path: Path, number: int) -> None:
    engine = toy_engine(Asked("loss", number, signal.SIGTERM, signal.SIGTERM), tmp_path, **SETTINGS)
    with pytest.raises(Interrupted, match=f"stopped at step {number - 1} of 9"):
        engine.run("toy")
    ends_like_an_undisturbed_run(tmp_path, seen=10 - number)


def test_while_the_weights_change(tmp_path: Path) -> None:
    toy = Toy(VALUES)
    engine = toy_engine(toy, tmp_path, **SETTINGS)
    real = engine.optimizer.step

    def step(*arguments: Any) -> None:
        real(*arguments)
        if len(toy.seen) == 4:
            send(signal.SIGTERM)

    engine.optimizer.step = step  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted, match="stopped at step 4 of 9"):
        engine.run("toy")
    ends_like_an_undisturbed_run(tmp_path, seen=5)


def test_while_a_checkpoint_is_written_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = torch.save, []

    def save(*arguments: Any) -> None:
        count.append(1)
        if len(count) in (3, 4):
            send(signal.SIGTERM)
        real(*arguments)

    engine = toy_engine(Toy(VALUES), tmp_path, **SETTINGS | {"checkpoint_s": 1e-9})
    with monkeypatch.context() as patched:
        patched.setattr("cavmae.training.checkpoint.torch.save", save)
        with pytest.raises(Interrupted, match="stopped at step 3 of 9"):
            engine.run("toy")
    assert len(count) == 3, "what was just saved is not saved again"
    ends_like_an_undisturbed_run(tmp_path, seen=6)


def test_while_it_waits_for_slow_storage(tmp_path: Path) -> None:
    go = threading.Event()

    class Slow(Asked):
        def build(self, indices: Any, epoch: int) -> TrainBatch:
            if len(self.seen) == 2 and epoch == 1 and len(indices) == 1:
                send(signal.SIGTERM)  # from the thread that reads: the main one waits for it
                assert go.wait(60)
            return super().build(indices, epoch)

    class Patient(Slow):
        """Is at its third batch only when the first two have changed the weights."""

        def build(self, indices: Any, epoch: int) -> TrainBatch:
            while len(indices) == 1 and len(applied) < 2:
                time.sleep(0.001)
            return super().build(indices, epoch)

    engine = toy_engine(Patient("", 0), tmp_path, **SETTINGS)
    real, applied = engine.stepper.apply, list[int]()

    def apply(*arguments: Any) -> None:
        real(*arguments)
        applied.append(1)  # while the request is held

    engine.stepper.apply = apply  # type: ignore[method-assign]
    try:
        with pytest.raises(Interrupted, match="stopped at step 2 of 9"):
            engine.run("toy")
    finally:
        go.set()
    ends_like_an_undisturbed_run(tmp_path, seen=7)


def test_a_second_ctrl_c_does_not_wait_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toy_engine(Asked("loss", 5, signal.SIGINT), tmp_path, **SETTINGS)

    def save(*_: Any) -> None:
        send(signal.SIGINT)
        pytest.fail("went on to write")

    with monkeypatch.context() as patched:
        patched.setattr("cavmae.training.checkpoint.torch.save", save)
        with pytest.raises(KeyboardInterrupt):
            engine.run("toy")
    assert not list(engine.checkpoints.folder.glob("*")), "half a checkpoint is left"
    ends_like_an_undisturbed_run(tmp_path, seen=9)


@pytest.fixture
def asking() -> Iterator[StopRequest]:
    with StopRequest([signal.SIGTERM]) as request:
        yield request


def test_a_request_raises_only_where_it_is_heard_and_once(asking: StopRequest) -> None:
    send(signal.SIGTERM)
    with asking.held():
        assert asking.asked is signal.SIGTERM
    with pytest.raises(StopAsked), asking.heard():
        pytest.fail("was asked before")
    with asking.heard():
        send(signal.SIGTERM)


def test_a_held_request_raises_when_the_outermost_hold_ends(asking: StopRequest) -> None:
    reached = []
    with pytest.raises(StopAsked), asking.heard():
        with asking.held():
            with asking.held():
                send(signal.SIGTERM)
            reached.append(1)
        reached.append(2)
    assert reached == [1]


def test_no_handler_of_errors_takes_a_stop_for_its_own(asking: StopRequest) -> None:
    with pytest.raises(StopAsked), asking.heard():
        try:
            send(signal.SIGTERM)
        except Exception:
            pytest.fail("swallowed")


def test_a_request_in_another_thread_hears_nothing() -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            with StopRequest([signal.SIGTERM]):
                pass
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert found == [] and engines.StopRequest is StopRequest
