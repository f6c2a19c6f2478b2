"""Who changed a parameter hears that the stopped run is not continued, and why."""

import json
import logging
from pathlib import Path

import pytest

from cavmae.training.predecessors import note_start

INPUTS = {"code": "a", "dataset": {"clips": "1"}, "packages": {}, "params": {"lr": 0.002, "epochs": 3}}


def started(work: Path, key: str, step: int | None, model: str = "m", **params: object) -> Path:
    """A run of which a checkpoint is there."""
    folder = work / key
    folder.mkdir(exist_ok=True)
    inputs = INPUTS | {"params": {**INPUTS["params"], **params}}  # type: ignore[dict-item]
    note_start(folder, work / model, inputs, anew=not any(folder.glob("step-*.pt")))
    if step is not None:
        (folder / f"step-{step:09d}.pt").touch()
    return folder


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_changed_parameter_is_named_with_both_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = started(tmp_path, "one", 7)
    started(tmp_path, "two", None, lr=0.003)
    assert said(caplog) == [
        "begins anew: the run for this model that stopped at step 7 had other lr (0.002, now 0.003); to continue it give it what "
        f"it had, to forget it delete {folder}"
    ]


def test_what_is_no_parameter_is_named_and_many_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started(tmp_path, "one", 7)
    (tmp_path / "two").mkdir()
    others = {"code": "b", "dataset": {}, "params": dict.fromkeys("abcdef", 1)}
    note_start(tmp_path / "two", tmp_path / "m", {**INPUTS, **others}, anew=True)
    (words,) = said(caplog)
    assert "had other code, data, a (None, now 1), b (None, now 1), c (None, now 1) and 5 more; to" in words


def test_nothing_is_said_of_what_is_no_other_try(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started(tmp_path, "one", 7)
    started(tmp_path, "one", None)  # its own
    started(tmp_path, "other", None, model="audioonly", mode="audioonly")  # makes another model
    (tmp_path / "one" / "finished").touch()
    started(tmp_path, "two", None, lr=0.003)
    assert said(caplog) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"model": 1, "inputs": {}})])
def test_a_damaged_note_harms_nobody(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (started(tmp_path, "one", 7) / "started.json").write_text(content)
    started(tmp_path, "two", None, lr=0.003)
    assert said(caplog) == []
