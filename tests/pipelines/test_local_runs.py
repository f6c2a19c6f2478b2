"""Pipelines run to their end as processes: what they make, what a second run skips, and how each step's failure fails the run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.small import executed, last_run, start, words
from tests.training.tiny import tiny

pytestmark = pytest.mark.slow
ALWAYS = {"check", "fetch", "compare", "promote", "farewell"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a pretraining run: its cache spares the other runs the data steps of their own pipeline, not these."""
    work = tmp_path_factory.mktemp("pretrain")
    done = start(words("cavmae-pretrain", work))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return work


def test_pretraining_shows_its_curves_and_figures(prepared: Path) -> None:
    made = last_run(prepared)
    assert "<svg" in (made / "pretrain" / "learning").read_text()
    figures = json.loads((made / "evaluate" / "figures").read_text())
    assert {"audio to video r1", "video to audio r1"} <= set(figures)
    assert (made / "validate" / "documents").read_text().lstrip().startswith("<!")
    assert list((prepared / "store").glob("train-*.tar")) and not list(made.rglob("*.tar"))
    report = json.loads(next((prepared / "reports").glob("*.json")).read_text())
    assert report["state"] == "SUCCEEDED" and report["pipeline"] == "cavmae-pretrain"


def test_a_second_run_does_only_what_must_look_at_the_present(prepared: Path) -> None:
    done = start(words("cavmae-pretrain", prepared))
    assert done.returncode == 0
    assert set(executed(done.stdout)) == {"check", "farewell"}


def test_settings_of_a_late_step_leave_the_early_ones_in_the_cache(prepared: Path) -> None:
    done = start(words("cavmae-pretrain", prepared, overrides={"evaluate.replicates": 5}))
    assert done.returncode == 0
    assert set(executed(done.stdout)) == {"check", "evaluate", "farewell"}


def test_a_closed_gate_fails_the_run_with_the_expectation_and_keeps_the_documents(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "store", tmp_path / "store")
    strict = {"validate.min_clips_test": 99, "validate.fail_on_warnings": True}
    done = start(words("cavmae-pretrain", tmp_path, overrides=strict))
    assert done.returncode == 1
    assert "validation failed: " in done.stdout and "refuse" in executed(done.stdout)
    assert not {"adapt", "pretrain"} & set(executed(done.stdout)) and executed(done.stdout)[-1] == "farewell"
    assert "99" in (last_run(tmp_path) / "validate" / "documents").read_text()
    assert json.loads(next((tmp_path / "reports").glob("*.json")).read_text())["state"] == "FAILED"


@pytest.mark.parametrize(
    ("fields", "overrides", "said"),
    [
        ({}, {"finetune.mixupp": 0.5}, "overrides: finetune.mixupp=0.5: section 'finetune' has no key 'mixupp'"),
        ({"mode": "both"}, {}, "finetune.mode"),
        ({"epochs": 0}, {}, "finetune.epochs"),
        ({"store": "/proc/store"}, {}, "/proc/store: cannot be made a folder"),
        ({}, {"extract.part": "1/2"}, "extract.part is set by the pipeline"),
    ],
)
def test_what_fits_no_parameter_is_said_before_anything_runs(
    tmp_path: Path, fields: dict[str, Any], overrides: dict[str, Any], said: str
) -> None:
    done = start(words("cavmae-finetune", tmp_path, {"model": "/some/model", **fields}, overrides))
    assert done.returncode == 2 and executed(done.stdout) == []
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("fields", "task", "said"),
    [
        ({"source": "/nowhere"}, "check", "/nowhere"),
        ({"parts": 0}, "plan", "parts is 0"),
        ({"model": "/nowhere"}, "fetch", "/nowhere"),
    ],
)
def test_what_a_task_finds_wrong_is_the_last_line_of_the_run(
    tmp_path: Path, fields: dict[str, Any], task: str, said: str
) -> None:
    done = start(words("cavmae-finetune", tmp_path, {"model": tiny().pretrained, **fields}))
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert f"Task '{task}' finished with status FAILURE" in done.stdout
    assert executed(done.stdout)[-1] == "farewell" and "finetune" not in executed(done.stdout)
    assert done.stderr.splitlines()[-1].startswith(f"pipelines: cavmae-finetune: cavmae {task}: ") and said in done.stderr
