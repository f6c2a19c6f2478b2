"""The step `package`: everything that a model needs to be used and audited, and only run.json tells one run from another."""

import json
from pathlib import Path

import pytest

from cavmae.errors import InputError
from cavmae.models.folder import read_model
from tests.training.tiny import run_step, same_files, tiny

FIGURES = {"test": {"multimodal": {"accuracy": 0.875, "accuracy_low": 0.8, "accuracy_high": 0.95, "mAP": 0.9}, "retrieval": {}}}


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    (tmp_path / "evaluation.json").write_text(json.dumps(FIGURES))
    return tmp_path / "evaluation.json"


def package(out: Path, metrics: Path, start: Path | None = None, **changes: object) -> Path:
    run_step("package", {"start": start or tiny().classifier(), "metrics": metrics, "model": out}, **changes)
    return out


def test_the_folder_holds_everything_and_can_be_used(tmp_path: Path, metrics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_RUN_ID", "run-17")
    final = package(tmp_path / "final", metrics, name="Birds | *and* dogs")
    assert {path.name for path in final.iterdir()} == {
        *("README.md", "config.json", "lineage.json", "metrics.json", "model.safetensors", "run.json"),
    }
    assert read_model(final)[0].kind == "classifier"
    assert json.loads((final / "metrics.json").read_text()) == FIGURES
    run = json.loads((final / "run.json").read_text())
    assert run["run_id"] == "run-17" and {"user", "host", "finished", "hardware", "steps"} <= set(run)
    lineage = json.loads((final / "lineage.json").read_text())
    assert lineage["step"] == "package" and lineage["parents"]["start"]["lineage"]["step"] == "finetune"
    card = (final / "README.md").read_text()
    code = lineage["code"]
    said = f"commit `{code['commit']}`" + ("" if code["clean"] else ", with local changes")
    assert f"\n- code: {said if code['commit'] else 'no commit is known'}\n" in card
    assert card.startswith("# Birds \\| \\*and\\* dogs\n") and "0.875 (0.800-0.950)" in card and "8 labels, one a clip" in card


def test_run_json_is_the_only_file_that_differs_between_two_runs(tmp_path: Path, metrics: Path) -> None:
    first, second = package(tmp_path / "a", metrics), package(tmp_path / "b", metrics)
    assert same_files(first, second) == ["run.json"]


def test_what_is_no_classifier_or_no_evaluation_is_refused(tmp_path: Path, metrics: Path) -> None:
    with pytest.raises(InputError, match="is no classifier; package a fine-tuned or averaged model"):
        package(tmp_path / "final", metrics, tiny().pretrained)
    metrics.write_text('{"test": 3}')
    with pytest.raises(InputError, match="is not what `evaluate` writes"):
        package(tmp_path / "final", metrics)
    with pytest.raises(InputError, match="no such file"):
        package(tmp_path / "final", tmp_path / "nowhere.json")
    assert not (tmp_path / "final").exists()
