"""What `make demo` promises, held against what it left behind. Skips where it was not run."""

import json
from typing import Any

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    metrics = REPOSITORY / "metrics" / "evaluation.json"
    if not metrics.is_file():
        pytest.skip("no metrics/evaluation.json; run `make demo` first")
    test: dict[str, Any] = json.loads(metrics.read_text())["test"]
    return test


def test_both_modalities_together_separate_what_each_alone_confuses(figures: dict[str, Any]) -> None:
    both, sound, picture = (figures[name]["accuracy"] for name in ("multimodal", "audio", "video"))
    assert both >= 0.90
    assert both - sound >= 0.15
    assert both - picture >= 0.15


@pytest.mark.parametrize("name", ["audio", "video"])
def test_each_modality_alone_comes_near_its_ceiling(figures: dict[str, Any], name: str) -> None:
    assert abs(figures[name]["accuracy"] - figures["ceiling"][name]) <= 0.15


@pytest.mark.parametrize("way", ["audio_to_video", "video_to_audio"])
def test_retrieval_is_twenty_times_better_than_chance(figures: dict[str, Any], way: str) -> None:
    assert figures["retrieval"][way]["r1"] >= 20 * figures["retrieval"][way]["chance_r1"]


def test_the_report_stands_alone() -> None:
    report = REPOSITORY / "reports" / "report.html"
    if not report.is_file():
        pytest.skip("no reports/report.html; run `make demo` first")
    text = report.read_text(encoding="utf-8")
    assert 'src="http' not in text and 'href="http' not in text
