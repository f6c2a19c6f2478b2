"""Meters: what they say with a clock that the test moves, where they are written, and that they are read late on a GPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cavmae.errors import StepFailed
from cavmae.training.distributed import World
from cavmae.training.meters import EVERY, Meters, in_words
from cavmae.training.readings import Readings
from tests.training.tiny import params
from tests.training.toy import Toy, toy_engine

CPU = torch.device("cpu")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Board:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def add(self, step: int, values: dict[str, float]) -> None:
        self.rows.append((step, values))


def test_waiting_and_computing_are_told_apart_and_mfu_is_the_share_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cavmae.training.meters.peak_flops", lambda device, precision: 1000.0)
    clock, board = Clock(), Board()
    meters = Meters(params("pretrain"), World(0, 2), 50.0, clock)
    meters.board = board  # type: ignore[assignment]

    def batches() -> Iterator[int]:
        for number in range(1, 2 * EVERY + 1):
            clock.now += 1.0
            yield number

    for number in meters.waiting_for(batches()):
        clock.now += 3.0
        meters.step(number, 8, 0.5, torch.tensor(2.0) if meters.wanted(number) else None)
    wanted = {"clips_per_s": 2.0, "data_s": 1.0, "compute_s": 3.0, "mfu": 2.0 * 50 / 2000}
    epoch = meters.epoch()
    assert {key: epoch[key] for key in wanted} == pytest.approx(wanted) and epoch["memory_gb"] > 0
    assert [step for step, _ in board.rows] == [EVERY, 2 * EVERY]
    for _, row in board.rows:
        assert row["step_lr"] == 0.5 and row["step_gradient_norm"] == 2.0
        assert {key: row[f"step_{key}"] for key in wanted} == pytest.approx(wanted)
    assert in_words(epoch).startswith("2 clips/s, 25% of the time waiting for data, MFU 5.0%")


def test_the_norm_that_is_written_is_that_of_the_gradients_before_clipping(tmp_path: Path) -> None:
    values = [3.0] * 2 * EVERY
    for clip in (None, 0.5):
        engine = toy_engine(Toy(values), tmp_path / str(clip), epochs=1, clip_grad_norm=clip)
        rows: list[dict[str, float]] = []
        add = type(engine.meters).step
        engine.meters.step = lambda number, clips, rate, norm, rows=rows: rows.append({"at": number, "norm": norm})  # type: ignore[method-assign,misc,assignment]
        engine.run("toy")
        assert add is not None and [row["at"] for row in rows] == list(range(1, EVERY + 1))
        known = [row for row in rows if row["norm"] is not None]
        assert len(known) == (1 if clip is None else EVERY) and all(float(row["norm"]) == pytest.approx(3.0) for row in known)


def test_events_of_epochs_and_steps_stand_apart_and_curves_hold_no_times(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    engine = toy_engine(Toy([1.0] * 2 * EVERY), tmp_path, epochs=2)
    rows = engine.run("toy")
    assert not {key for row in rows for key in row if "speed" in key or "mfu" in key}
    found = {}
    for folder in (tmp_path / "events", tmp_path / "events" / "steps"):
        events = EventAccumulator(str(folder))
        events.Reload()
        found[folder.name] = {tag: [item.step for item in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    for name in ("clips_per_s", "data_s", "compute_s", "mfu", "memory_gb"):
        assert found["events"][f"speed/{name}"] == [1, 2]
        assert found["steps"][f"step/{name}"] == [EVERY, 2 * EVERY]
    assert found["steps"]["step/lr"] == found["steps"]["step/gradient_norm"] == [EVERY, 2 * EVERY]


def test_readings_come_at_once_on_a_cpu_and_late_but_all_in_order_where_there_is_a_lag() -> None:
    at_once: Readings[int] = Readings(CPU)
    assert [list(at_once.put(step, torch.tensor([float(step)]))) for step in (1, 2)] == [[(1, [1.0])], [(2, [2.0])]]
    late: Readings[int] = Readings(CPU)
    late._lag = 2
    found = [list(late.put(step, torch.tensor([float(step)]))) for step in range(1, 5)]
    assert found == [[], [], [(1, [1.0])], [(2, [2.0])]]
    assert list(late.due(everything=True)) == [(3, [3.0]), (4, [4.0])] and list(late.due(everything=True)) == []


def test_with_a_lag_the_sums_are_the_same_and_a_loss_that_is_no_number_is_never_saved(tmp_path: Path) -> None:
    from tests.training.test_engine import VALUES, Diverging

    plain, late = (toy_engine(Toy(VALUES), tmp_path / name, epochs=2) for name in ("plain", "late"))
    late.stepper._readings._lag = 2
    assert late.run("toy") == plain.run("toy")
    for checkpoint_s in (1e-9, 1e9):
        engine = toy_engine(Diverging("loss"), tmp_path / str(checkpoint_s), epochs=3, checkpoint_s=checkpoint_s)
        engine.stepper._readings._lag = 2
        with pytest.raises(StepFailed, match="the loss is nan at step 5; lower lr or set clip_grad_norm"):
            engine.run("toy")
        state = engine.checkpoints.load()
        if checkpoint_s < 1:
            assert state is not None and state["step"] == 4 and torch.isfinite(state["model"]["weight"]).all()
        else:
            assert state is None
