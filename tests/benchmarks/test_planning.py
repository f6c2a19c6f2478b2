"""The plan follows its formulas, and the page on planning shows what the command prints."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import planning
from benchmarks.planning import INPUTS, plan
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.flops import FORWARD_AND_BACKWARD, classifier_macs, pretraining_macs
from tests.conftest import REPOSITORY

GIVEN = {name: one.value for name, one in INPUTS.items()}


def test_gpu_hours_are_work_over_what_the_gpu_does() -> None:
    given = {**GIVEN, "gflop": 200.0, "gpu_peak": 100.0, "share": 0.5, "epochs": 9.0}
    # 50 TFLOP/s do 250 clips a second; 9 epochs of 100,000 clips take 3600 s
    assert plan(100_000, given).pretrain_gpu_hours == pytest.approx(1.0)
    assert plan(100_000, given).clips_per_s == pytest.approx(250.0)


def test_pods_are_as_many_as_it_takes_to_be_done_in_time() -> None:
    given = {**GIVEN, "extract_rate": 5.0, "pod_cores": 2.0, "hours": 1.0}
    assert plan(36_000, given).extract_core_hours == pytest.approx(2.0)
    assert plan(36_000, given).extract_pods == 1
    assert plan(36_001, given).extract_pods == 2


def test_storage_grows_with_the_clips_and_checkpoints_do_not() -> None:
    small, large = plan(1000, GIVEN), plan(2000, GIVEN)
    assert large.shard_gb == pytest.approx(2 * small.shard_gb) and large.run_gb == small.run_gb
    assert small.shard_gb == pytest.approx(GIVEN["shard_kb"] / 1000)


def test_what_is_counted_is_what_the_models_ask_for() -> None:
    with torch.device("meta"):
        pretraining, classifier = CAVMAE(), CAVMAEFT(527)
    macs = sum(pretraining_macs(pretraining).values()), sum(classifier_macs(classifier, "multimodal").values())
    counted = [FORWARD_AND_BACKWARD * value / 1e9 for value in macs]
    assert [GIVEN["gflop"], GIVEN["finetune_gflop"]] == [pytest.approx(value, rel=1e-3) for value in counted]
    assert GIVEN["parameters"] == pytest.approx(sum(p.numel() for p in pretraining.parameters()) / 1e6, rel=1e-3)


def test_every_input_says_where_it_is_from() -> None:
    assert all(one.value > 0 and one.origin and one.unit for one in INPUTS.values())


def test_a_changed_input_is_marked_as_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    assert planning.main(["--clips", "500", "--share", "0.5", "--json", str(file)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "`--share`" in line]
    assert lines == ["| `--share` | 0.5 | of that peak reached by a step | given |"]
    assert json.loads(file.read_text())["plans"][0]["clips"] == 500


@pytest.mark.parametrize(
    "arguments", [["--clips", "0"], ["--share", "-1"], ["--hours", "nan"], ["--clips", "x"], ["--share", "1.5"]]
)
def test_what_cannot_be_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        planning.main(arguments)
    assert ended.value.code == 2


def test_help_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        planning.main(["--help"])
    assert "--extract-rate" in capsys.readouterr().out


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    planning.main([])
    page = (REPOSITORY / "docs" / "planning.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() in page
