"""What is saved beside the steps is the state of one moment, one at a time, and what goes wrong is not lost."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from cavmae.errors import StepFailed
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.saving import Saver


class Held(Checkpoints):
    """Writes when it is let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.go, self.begun, self.written = threading.Event(), threading.Event(), list[int]()

    def save(self, step: int, state: dict[str, Any]) -> None:
        self.begun.set()
        assert self.go.wait(30)
        super().save(step, state)
        self.written.append(step)


def saver(checkpoints: Checkpoints, background: bool = True) -> tuple[Saver, list[float]]:
    now = [0.0]
    return Saver(checkpoints, 10.0, lambda: now[0], background), now


def test_what_the_next_steps_change_is_not_what_is_written(tmp_path: Path) -> None:
    checkpoints = Held(tmp_path / "work")
    subject, now = saver(checkpoints)
    weight = torch.ones(3)
    subject.save(1, 1, {"model": {"w": weight}, "rows": [{"loss": 1.0}], "optimizer": {"state": [weight]}})
    assert checkpoints.begun.wait(30)
    weight += 1
    now[0] = 100.0
    assert not subject.due(), "one at a time"
    checkpoints.go.set()
    subject.written()
    now[0] = 200.0
    assert subject.due()
    state = checkpoints.load()
    assert state is not None and torch.equal(state["model"]["w"], torch.ones(3))
    assert torch.equal(state["optimizer"]["state"][0], torch.ones(3)) and state["rows"] == [{"loss": 1.0}]


def test_the_last_one_waits_for_the_one_before_and_is_on_the_disk(tmp_path: Path) -> None:
    checkpoints = Held(tmp_path / "work")
    subject, _ = saver(checkpoints)
    subject.save(1, 1, {"w": torch.ones(1)})
    threading.Timer(0.1, checkpoints.go.set).start()
    subject.save(2, 2, {"w": torch.ones(1)}, last=True)
    assert checkpoints.written == [1, 2]


def test_the_same_state_is_saved_once(tmp_path: Path) -> None:
    checkpoints = Held(tmp_path / "work")
    checkpoints.go.set()
    subject, _ = saver(checkpoints, background=False)
    for _ in range(2):
        subject.save(1, 1, {"w": torch.ones(1)}, last=True)
    assert checkpoints.written == [1]


def test_what_goes_wrong_beside_the_steps_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path / "work")
    subject, _ = saver(checkpoints)
    with monkeypatch.context() as full:
        full.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        subject.save(1, 1, {"w": torch.ones(1)})
        with pytest.raises(StepFailed, match="is the disk full"):
            subject.written()
    subject.save(1, 1, {"w": torch.ones(1)}, last=True)
    assert (checkpoints.load() or {})["w"].item() == 1


def test_it_is_time_after_the_seconds_asked_for(tmp_path: Path) -> None:
    subject, now = saver(Checkpoints(tmp_path / "work"), background=False)
    found = []
    for now[0] in (9.9, 10.0):
        found.append(subject.due())
    subject.save(1, 1, {})
    assert found == [False, True] and not subject.due()
