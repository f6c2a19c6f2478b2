"""Workers are given turns, and what goes wrong in one is told."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.turns import Worker, in_turns, workers
from cavmae.errors import InputError, StepFailed

MODULE = "tests.benchmarks.echo"


def echo(**settings: Any) -> Worker:
    return Worker(Path(sys.executable), MODULE, {"name": "one", **settings}, threads=3)


def test_a_worker_answers_turn_by_turn_and_only_with_answers() -> None:
    with echo() as worker:
        about = worker.hear()
        assert about == {"threads": "3", "gpus": "", "left": ""}  # what it starts can read none of its requests
        answers = in_turns([worker], 3)[0]
        worker.finish()
    assert [answer["turn"] for answer in answers] == [0, 1, 2]
    assert all(answer["cpu_s"] >= 0 and answer["wall_s"] > 0 for answer in answers)


def test_two_workers_take_turns_and_keep_their_answers_apart() -> None:
    wanted = [(Path(sys.executable), MODULE, {"name": name}, 1, ()) for name in ("one", "other")]
    with workers(*wanted) as both:
        for worker in both:
            worker.hear()
        found = in_turns(both, 2)
    assert [[answer["name"] for answer in answers] for answers in found] == [["one", "one"], ["other", "other"]]


def test_what_a_worker_lacks_is_an_input_error_with_its_words() -> None:
    with echo(lacks="a GPU is missing") as worker, pytest.raises(InputError, match="a GPU is missing"):
        worker.hear()


def test_a_worker_that_ends_is_told_with_the_end_of_its_log() -> None:
    with echo(dies_at=1) as worker:
        worker.hear()
        with pytest.raises(StepFailed, match=r"(?s)echo ended with code 3.*a last word"):
            in_turns([worker], 2)


def test_a_device_shows_one_gpu_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with echo(device="cuda") as worker:
        assert worker.hear()["gpus"] == "2"
    with echo(device="cpu") as worker:
        assert worker.hear()["gpus"] == ""
