"""Figures are written for programs, for people, and on a page of their model, hardware and day."""

import argparse
import json
import time
from pathlib import Path

import pytest

from benchmarks.outcome import Outcome, add_output, hardware, keep, own_versions, run, spread, table
from cavmae.errors import StepFailed


def outcome(name: str = "step", ours: float = 2.0) -> Outcome:
    return Outcome(
        name, "cavmae-base", ours, 1.0, ours, "clips/s", {"ours": spread([1.0, 2.0])}, {"torch": "9"}, "the command",
        "A CPU, 2 cores", more={"extra": 1}, lines=[f"It is {ours}."],
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_output(made)
    return made


def test_json_has_the_agreed_keys_and_a_page_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", str(tmp_path / "figures.json"), "--results", str(tmp_path / "kept")]
    assert run("step", parser(), lambda options: outcome(), arguments) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    assert {"ours", "reference", "ratio", "unit", "spread", "versions", "extra"} <= found.keys()
    assert found["command"] == f"python -m benchmarks.step {' '.join(arguments)}"
    page = tmp_path / "kept" / f"cavmae-base_A-CPU-2-cores_{time.strftime('%Y-%m-%d')}.md"
    assert "It is 2.0." in page.read_text() and "torch 9" in page.read_text()
    assert "It is 2.0." in capsys.readouterr().out


def test_a_page_keeps_the_other_benchmarks_and_renews_its_own(tmp_path: Path) -> None:
    page = keep(outcome("input", 1.0), tmp_path)
    keep(outcome("step", 2.0), tmp_path)
    keep(outcome("step", 3.0), tmp_path)
    text = page.read_text()
    assert (
        text.index("## input") < text.index("## step")
        and "It is 1.0." in text
        and "It is 3.0." in text
        and "It is 2.0." not in text
    )
    assert keep(outcome("step", 3.0), tmp_path).read_text() == text


def test_no_page_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    assert run("step", parser(), lambda options: outcome(), ["--results", str(tmp_path), "--no-results"]) == 0
    assert not list(tmp_path.iterdir())


def test_what_fails_is_one_line_and_exit_code_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(options: argparse.Namespace) -> Outcome:
        raise StepFailed("it went wrong")

    assert run("step", parser(), fails, ["--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "benchmarks.step: it went wrong\n"
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("step", parser(), lambda options: outcome(), ["--results", str(tmp_path / "file" / "x")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_spread_of_one_value_and_of_some() -> None:
    assert spread([3.0]) == {"min": 3.0, "q1": 3.0, "median": 3.0, "q3": 3.0, "max": 3.0, "n": 1}
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {"min": 1.0, "q1": 2.0, "median": 3.0, "q3": 4.0, "max": 5.0, "n": 5}


def test_this_machine_and_its_versions_have_names() -> None:
    assert "core" in hardware() and {"python", "torch", "numpy"} <= own_versions().keys()


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [(1, 2)]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
