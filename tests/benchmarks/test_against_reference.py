"""The real commands against the user's checkout of the original, which CAVMAE_REFERENCE names."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import benchmarks.input
from benchmarks import extract, retrieval, step
from benchmarks.prerequisites import CHECKOUT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get(CHECKOUT), reason=f"{CHECKOUT} names no checkout of the original CAV-MAE"),
]


def figures(module: Any, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run a benchmark and return what it wrote as JSON."""
    file = tmp_path / "figures.json"
    assert module.main([*arguments, "--json", str(file), "--results", str(tmp_path / "kept")]) == 0
    assert len(list((tmp_path / "kept").glob("cavmae-*.md"))) == 1
    found: dict[str, Any] = json.loads(file.read_text())
    assert found["ours"] > 0 and found["reference"] > 0 and found["ratio"] > 0 and found["unit"]
    assert "original's torch" in found["versions"] and found["spread"]
    return found


def test_a_step_starts_from_equal_losses(tmp_path: Path) -> None:
    found = figures(step, tmp_path, "--small", "--repeats", "2", "--threads", "1", "--batch", "2")
    # float32 on both sides; attention is computed by other kernels
    assert found["first_loss"]["ours"] == pytest.approx(found["first_loss"]["reference"], rel=1e-5)
    assert found["ratio"] == pytest.approx(found["ours"] / found["reference"])
    assert 0 < found["share_of_peak"]["ours"] < 1 and found["ratio_cpu_time"] > 0


def test_loss_curves_stay_together_from_equal_weights_batches_and_noise(tmp_path: Path) -> None:
    found = figures(step, tmp_path, "--small", "--losses", "5", "--threads", "1", "--batch", "3", "--every", "2")
    assert len(found["curves"]["ours"]["loss"]) == len(found["curves"]["reference"]["contrast"]) == 5
    assert len(set(found["curves"]["ours"]["loss"])) == 5  # every step has a batch of its own
    # rounding of a float32 loss, which five steps of 5e-5 hardly spread
    assert found["largest_relative_difference"] < 1e-5
    assert max(found["largest_difference"].values()) < 1e-4


def test_input_reads_the_same_clips_both_ways(tmp_path: Path) -> None:
    found = figures(benchmarks.input, tmp_path, "--clips", "4", "--batch", "2", "--repeats", "1")
    assert found["ratio_device"] > found["ratio"] and found["bytes_per_clip"] > 320_000


def test_extraction_makes_every_clip_on_both_sides(tmp_path: Path) -> None:
    for program in ("ffmpeg", "sox"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    found = figures(extract, tmp_path, "--clips", "2", "--seconds", "1", "--repeats", "1")
    assert found["clips_made"] == {"ours": 2, "reference": 2}


def test_retrieval_finds_the_same_and_scales_by_the_square(tmp_path: Path) -> None:
    found = figures(retrieval, tmp_path, "--pairs", "400", "--timed", "40", "--repeats", "1", "--width", "32")
    assert found["scaled_by"] == 100 and found["reference"] == pytest.approx(100 * found["reference_timed_s"])
    assert found["ratio_arrays"] > 0
