"""Adaptation of vision-MAE weights against adapt/tiny_*: what the official script writes. Copies and one sum: exact."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cavmae.models import CAVMAE
from cavmae.models.adapt import adapt

DRAWN = {"modality_a", "modality_v", "decoder_modality_a", "decoder_modality_v"}
LEFT_OVER = {"cls_token_a", "cls_token_v", "cls_token_av"}  # the script writes them, its own model has none


@pytest.fixture
def sizes(golden: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((golden / "adapt" / "report.json").read_text())["tiny"]["cavmae_kwargs"]
    return facts


def _mapping(golden: Path) -> dict[str, dict[str, str]]:
    mapping: dict[str, dict[str, str]] = json.loads((golden / "adapt" / "mapping_tiny_msd9.json").read_text())
    return mapping


def test_every_weight_equals_the_official_output_to_the_bit(golden: Path, sizes: dict[str, Any]) -> None:
    model = CAVMAE(**sizes)
    want = load_file(golden / "adapt" / "tiny_cavmae_output.safetensors")
    adapt(model, load_file(golden / "adapt" / "tiny_mae_input.safetensors"))
    got = model.state_dict()
    assert set(got) == set(want) - LEFT_OVER
    for key in sorted(set(got) - DRAWN):
        assert torch.equal(got[key], want[key]), key


def test_the_report_names_what_was_taken_left_and_new(golden: Path, sizes: dict[str, Any]) -> None:
    model = CAVMAE(**sizes, modality_specific_depth=9)
    source = load_file(golden / "adapt" / "tiny_mae_input.safetensors")
    report = adapt(model, source)
    assert sorted(report.taken + report.left) == sorted(source)
    assert report.left == ["cls_token"], "the class token has no place in CAV-MAE"
    untouched = {key for key, how in _mapping(golden).items() if how["source"] is None and key in model.state_dict()}
    assert set(report.new) == untouched
    assert set(report.new) >= DRAWN
    lines = report.lines()
    assert lines[0].startswith(f"taken from the checkpoint {len(report.taken)}: ") and "blocks (144)" in lines[0]
    assert lines[1] == "left in the checkpoint 1: cls_token"
