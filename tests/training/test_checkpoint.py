"""What a checkpoint must be to be continued from, what becomes of one that is not, and what a full disk leaves."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cavmae.errors import InputError, StepFailed
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.engine import Engine
from tests.training.toy import Toy, toy_engine

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0]
SETTINGS: dict[str, Any] = {"epochs": 2, "keep_epochs": 2}  # six steps


def run(folder: Path, **changes: Any) -> tuple[Engine, Toy, list[Any]]:
    toy = Toy(VALUES)
    engine = toy_engine(toy, folder, **SETTINGS | changes)
    return engine, toy, engine.run("toy")


def state_of(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def other_run(path: Path, folder: Path) -> None:
    torch.save(state_of(path) | {"run": "0123456789abcdef"}, path)


def other_shapes(path: Path, folder: Path) -> None:
    torch.save(state_of(path) | {"model": {"weight": torch.zeros(2, 2)}}, path)


def other_names(path: Path, folder: Path) -> None:
    torch.save(state_of(path) | {"model": {"bias": torch.zeros(1, 1)}}, path)


def other_optimizer(path: Path, folder: Path) -> None:
    torch.save(state_of(path) | {"optimizer": {"state": {}, "param_groups": [{"params": [0, 1]}]}}, path)


def strange_optimizer(path: Path, folder: Path) -> None:
    torch.save(state_of(path) | {"optimizer": {"state": {7: {"m": torch.zeros(3)}}, "param_groups": [{"params": [0]}]}}, path)


def missing_parts(path: Path, folder: Path) -> None:
    torch.save({"run": "work", "epochs": {}, "model": {}}, path)


def a_tensor(path: Path, folder: Path) -> None:
    torch.save(torch.zeros(3), path)


def zeros(path: Path, folder: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def an_archive(path: Path, folder: Path) -> None:
    shutil.make_archive(str(folder / "notes"), "zip", folder, "events")
    shutil.move(folder / "notes.zip", path)


CONTENTS = [other_run, other_shapes, other_names, other_optimizer, strange_optimizer, missing_parts, a_tensor, zeros, an_archive]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.__name__)
def test_one_with_another_content_is_passed_over_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: Any
) -> None:
    engine, toy, rows = run(tmp_path, epochs=3, keep_epochs=1)
    before = engine.checkpoints.folder / "step-000000008.pt"
    (engine.checkpoints.folder / "step-000000009.pt").unlink()
    shutil.copy(before, engine.checkpoints.folder / "step-000000007.pt")  # stands for the one before
    content(before, tmp_path)
    with caplog.at_level(logging.INFO):
        _, again, found = run(tmp_path, epochs=3, keep_epochs=1)
    assert found == rows and torch.equal(again.model.weight, toy.model.weight) and len(again.seen) == 1
    assert "step-000000008.pt cannot be used" in caplog.text and "resumed at step 8" in caplog.text
    assert not list(engine.checkpoints.folder.glob("damaged-*")), "a good one took its place"


def test_where_none_can_be_used_the_run_starts_anew_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine, _, rows = run(tmp_path)
    for path in engine.checkpoints.folder.glob("step-*.pt"):
        other_run(path, tmp_path)
    _, again, found = run(tmp_path)
    assert found == rows and len(again.seen) == 6
    assert "no checkpoint in" in caplog.text and "training starts anew, at step 0" in caplog.text


def test_one_that_cannot_be_used_is_put_aside_and_not_lost_before_there_is_another(tmp_path: Path) -> None:
    engine, _, _ = run(tmp_path)
    for path in engine.checkpoints.folder.glob("step-*.pt"):
        path.write_bytes(b"what a person may still want to look at")
    assert engine.checkpoints.load() is None
    assert sorted(path.name for path in engine.checkpoints.folder.glob("*.pt")) == [
        "damaged-step-000000005.pt",
        "damaged-step-000000006.pt",
    ]


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_one_whose_epochs_are_not_whole_is_not_continued_from(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    engine, _, rows = run(tmp_path)
    first = engine.epoch_weights(1)
    content = first.read_bytes()
    first.unlink() if how == "missing" else first.write_bytes(content[:-1])
    _, again, found = run(tmp_path)
    assert found == rows and len(again.seen) == 6 and first.read_bytes() == content
    assert "epoch-0001.safetensors, which belongs to it, is damaged or missing" in caplog.text


def test_the_end_is_saved_before_its_outputs_are_written_and_holds_no_optimizer(tmp_path: Path) -> None:
    engine, _, _ = run(tmp_path, checkpoint_s=1e9)
    state = engine.checkpoints.load()
    assert state is not None and state["step"] == 6 and state["optimizer"] is None and len(state["rows"]) == 2
    _, again, _ = run(tmp_path, checkpoint_s=1e9)
    assert again.seen == []


def test_what_was_done_before_a_validation_is_saved_when_it_is_time(tmp_path: Path) -> None:
    class Dies(Toy):
        def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
            raise MemoryError

    with pytest.raises(MemoryError):
        toy_engine(Dies(VALUES), tmp_path, **SETTINGS).run("toy")
    _, toy, rows = run(tmp_path)
    assert len(toy.seen) == 3, "the first epoch's steps are not done again, its validation is"
    assert [row["epoch"] for row in rows] == [1, 2] and rows == run(tmp_path / "undisturbed")[2]


@pytest.mark.parametrize("place", ["a file", "a closed folder"])
def test_a_place_that_cannot_be_written_is_wrong_input(tmp_path: Path, place: str) -> None:
    if place == "a file":
        (tmp_path / "work").touch()
    else:
        if os.geteuid() == 0:
            pytest.skip("nothing is closed to root")
        (tmp_path / "work").mkdir(mode=0o500)
    with pytest.raises(InputError, match="set CAVMAE_WORK to a folder that can be written"):
        run(tmp_path / "work" if place != "a file" else tmp_path)


@pytest.mark.parametrize("moment", ["m", "v"])
def test_a_running_mean_that_is_no_number_is_not_kept(tmp_path: Path, moment: str) -> None:
    toy = Toy(VALUES)
    engine = toy_engine(toy, tmp_path, epochs=1)

    def spoil(*_: Any) -> None:
        engine.optimizer.state[toy.model.weight][moment] = torch.tensor([[float("inf")]])

    engine.optimizer.step = spoil  # type: ignore[method-assign, assignment]
    with pytest.raises(StepFailed, match=f"{moment} of weight is no longer finite after step 1"):
        engine.run("toy")
    assert not list(engine.checkpoints.folder.iterdir())


def test_a_run_that_diverged_ends_in_the_same_words_each_time_and_keeps_what_it_had(tmp_path: Path) -> None:
    class Diverging(Toy):
        def loss(self, batch: Any, device: torch.device) -> Any:
            loss, meters = super().loss(batch, device)
            return (loss * float("nan") if self.model.weight.item() < -12 else loss), meters

    ends = []
    for _ in range(3):
        toy = Diverging(VALUES)
        engine = toy_engine(toy, tmp_path, **SETTINGS)
        with pytest.raises(StepFailed, match="the loss is nan at step") as raised:
            engine.run("toy")
        state = engine.checkpoints.load()
        assert state is not None and torch.isfinite(state["model"]["weight"]).all()
        ends.append((str(raised.value), state["step"], len(toy.seen)))
    assert ends[0][:2] == ends[1][:2] == ends[2][:2] and ends[1][2] == ends[2][2] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    """Every kind of file that a run writes meets the full disk; it ends in one line, and goes on when there is space."""
    right, _, rows = run(tmp_path / "undisturbed")
    room = [small_disk / f"{number}" for number in range(63)]
    for path in room:
        path.write_bytes(bytes(4096))
    said = []
    while True:
        try:
            engine, _, found = run(small_disk / "run")
            break
        except (StepFailed, OSError) as error:
            said.append(str(error))
            assert "\n" not in str(error) and str(small_disk) in str(error) and len(said) < 63
            assert not list(small_disk.rglob("*.partial"))
            room.pop().unlink()
    assert any("is the disk full?" in line and "run the same command to continue" in line for line in said), said
    assert found == rows
    for epoch in (1, 2):
        assert engine.epoch_weights(epoch).read_bytes() == right.epoch_weights(epoch).read_bytes()


def test_events_that_cannot_be_written_cost_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "events").touch()
    _, _, rows = run(tmp_path)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2  # of epochs, and of steps
    assert all("TensorBoard's events cannot be written" in words and "training goes on" in words for words in warnings)
    assert rows == run(tmp_path / "undisturbed")[2]


def test_weights_of_an_epoch_that_is_trained_anew_with_other_bits_damage_no_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    epoch = folder / "epoch-0001.safetensors"
    Checkpoints(folder).save(100, {"rows": []})
    epoch.write_bytes(b"as first trained")  # and killed before a checkpoint knows of it
    again = Checkpoints(folder)
    state = again.load()
    assert state is not None
    for step in (110, 120):
        again.save(step, {"rows": []})
    epoch.write_bytes(b"as trained on another machine")
    state = Checkpoints(folder).load()
    assert state is not None
    Checkpoints(folder).save(130, {"rows": [{"epoch": 1.0}]})
    epoch.write_bytes(b"damaged")
    state = Checkpoints(folder).load()
    assert state is not None and state["rows"] == []
    Checkpoints(folder).forget_epochs_after(0)
    assert not epoch.exists()
