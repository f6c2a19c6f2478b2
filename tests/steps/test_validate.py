"""The step `validate`: its description, its parameters, and that the gate is a result and not a crash."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from cavmae.steps.validate import STEP, ValidateParams, validate
from tests.dataset.validation_delivery import LIMITS, DeliveryFolders


def test_description_names_the_folders_of_the_graph() -> None:
    assert STEP.name == "validate"
    assert [(item.name, item.path) for item in STEP.inputs] == [("clips", "data/ingest"), ("shards", "data/shards")]
    assert [(item.name, item.path) for item in STEP.outputs] == [("out", "data/validated")]
    assert (STEP.image, STEP.gpu, STEP.params) == ("data", 0, ValidateParams)


def test_no_parameter_has_a_default_of_its_own() -> None:
    assert all(field.is_required() for field in ValidateParams.model_fields.values())


def test_an_unknown_or_impossible_parameter_is_refused() -> None:
    for change in ({"max_quarantine_share": 0.1}, {"max_quarantined_share": 1.5}, {"min_duration_s": 0}):
        with pytest.raises(ValidationError):
            ValidateParams.model_validate({**LIMITS, **change})


def test_a_failed_gate_returns_a_verdict_and_leaves_documents(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    delivery = DeliveryFolders()
    delivery.facts[0]["frames_decoded"] = 0
    delivery.facts[1]["silence"] = 1.0
    ingest, shards = delivery.write(tmp_path)
    with caplog.at_level(logging.INFO):
        paths = {"clips": ingest, "shards": shards, "out": tmp_path / "data" / "validated"}
        verdict = STEP.run(ValidateParams.model_validate(LIMITS), paths)
    assert not verdict.passed and verdict.failed == ["frames_decoded_enough"]
    assert "frames_decoded_enough" in verdict.failure() and str(verdict.page) in verdict.failure()
    assert verdict.page.is_file()
    assert "expectation silence_in_range is not met" in caplog.text
    assert "10 of 11 manifest rows accepted" in caplog.text


def test_a_passed_gate_has_no_failure_to_tell(tmp_path: Path) -> None:
    ingest, shards = DeliveryFolders().write(tmp_path)
    verdict = validate(clips=ingest, shards=shards, out=tmp_path / "out", params=ValidateParams.model_validate(LIMITS))
    assert verdict.passed and verdict.failure() is None


def test_the_description_loads_without_the_libraries_of_the_work() -> None:
    heavy = "{'great_expectations', 'pandas', 'pyarrow', 'torch'}"
    code = f"import sys, cavmae.steps.validate; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
