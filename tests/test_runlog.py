"""The record of who ran what: one line a finished command, none for one that failed, and no line spoils another."""

import json
from pathlib import Path

import pytest

from cavmae.runlog import recorded, run_facts


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path))
    monkeypatch.delenv("CAVMAE_RUN_ID", raising=False)
    return tmp_path / "runs.jsonl"


def test_the_last_finished_run_of_each_step_and_output_is_told() -> None:
    for model in ("a", "b", "a"):
        with recorded("finetune", {"model": model}):
            pass
    steps = run_facts()["steps"]
    assert set(steps) == {"finetune a", "finetune b"}
    assert steps["finetune a"]["started"].endswith("+00:00") and steps["finetune a"]["seconds"] >= 0


def test_a_failed_command_leaves_no_line(work: Path) -> None:
    with pytest.raises(RuntimeError), recorded("finetune", {"model": "a"}):
        raise RuntimeError
    assert run_facts()["steps"] == {} and not work.exists()


def test_of_several_processes_the_first_writes_the_line(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in ("1", "0", "2"):
        monkeypatch.setenv("RANK", rank)
        with recorded("finetune", {"model": rank}):
            pass
    assert set(run_facts()["steps"]) == {"finetune 0"}


def test_a_line_that_was_being_written_when_it_was_killed_spoils_no_other(work: Path) -> None:
    with recorded("extract", {"out": "x"}):
        pass
    whole = work.read_text()
    work.write_text(whole + "\n" + whole.strip()[:20])
    with recorded("validate", {"out": "y"}):
        pass
    assert set(run_facts()["steps"]) == {"extract x", "validate y"}


def test_the_run_id_is_given_or_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_facts()["run_id"] != run_facts()["run_id"]
    monkeypatch.setenv("CAVMAE_RUN_ID", "kfp-1")
    facts = run_facts()
    assert facts["run_id"] == "kfp-1" and json.dumps(facts)


def test_a_step_that_makes_nothing_leaves_nothing_where_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAVMAE_WORK", raising=False)
    with recorded("predict", {}):
        pass
    assert list(tmp_path.iterdir()) == []
