"""The command that runs every benchmark names commands that exist."""

import importlib
from pathlib import Path

import pytest

from benchmarks import all as everything


@pytest.mark.parametrize("gpu", [False, True])
def test_every_command_parses(gpu: bool) -> None:
    for name, *rest in everything.commands(gpu, Path("media")):
        importlib.import_module(f"benchmarks.{name}").parser().parse_args(rest)


def test_the_five_benchmarks_are_among_them() -> None:
    assert {name for name, *_ in everything.commands(False, None)} == {"step", "input", "extract", "retrieval", "scaling"}


def test_list_prints_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert everything.main(["--gpu", "--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said and all(line.startswith("$ python -m benchmarks.step --device cuda") for line in said)
    assert {"48", "256"} <= {line.split("--batch ")[1].split()[0] for line in said}


def test_one_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    codes = iter([2, 0, 1])
    monkeypatch.setattr(everything, "commands", lambda gpu, media: [["retrieval"]] * 3)
    monkeypatch.setattr("benchmarks.retrieval.main", lambda arguments: next(codes))
    assert everything.main([]) == 2
    assert capsys.readouterr().out.count("exit code") == 3
