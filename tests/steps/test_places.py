"""No step replaces a folder that holds anything but its own earlier output."""

from pathlib import Path

import pytest

from cavmae.cli import main
from tests.training.tiny import arguments, tiny


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def commands() -> dict[str, list[str]]:
    data, root = ["--dataset", str(tiny().dataset)], tiny().root
    trained = ["--curves", "c.tsv", "--events", "e"]
    delivered = ["--clips", str(root / "data" / "ingest"), "--shards", str(root / "data" / "shards")]
    models = ["--audio-model", "none", "--video-model", "none", "--pretrained", "none", "--curves", "none"]
    written = ["--metrics", "m.json", "--report", "r.html"]
    return {
        "validate": [*delivered, "--out", "X"],
        "adapt": [*data, "--model", "X"],
        "pretrain": [*data, "--start", str(tiny().adapted), "--model", "X", *trained],
        "finetune": [*data, "--start", str(tiny().pretrained), "--model", "X", *trained],
        "average": ["--start", str(tiny().classifier()), "--model", "X"],
        "package": ["--start", str(tiny().classifier()), "--metrics", "m.json", "--model", "X"],
        "evaluate": [*data, "--model", str(tiny().classifier()), *models, *written, "--plots", "X"],
    }


@pytest.mark.parametrize("step", ["validate", "adapt", "pretrain", "finetune", "average", "package", "evaluate"])
def test_a_folder_with_other_things_is_left_alone_with_one_line(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Path("X") / "holiday" / "film.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    words = arguments(step)
    assert main([*words, *commands()[step]]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"cavmae {step}: ")]
    assert len(said) == 1 and "X: would be replaced as a whole, and holds 'holiday" in said[0]
    assert kept.read_text() == "mine" and [path.name for path in Path("X").iterdir()] == ["holiday"]


@pytest.mark.parametrize("step", ["adapt", "average"])
def test_a_model_of_another_step_is_not_replaced_and_one_of_the_same_is(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*arguments(step), *commands()[step]]
    assert main(words) == 0
    first = (Path("X") / "model.safetensors").read_bytes()
    assert main(words) == 0 and (Path("X") / "model.safetensors").read_bytes() == first
    other = "average" if step == "adapt" else "adapt"
    assert main([*arguments(other), *commands()[other]]) == 2
    assert f"which no earlier `cavmae {other}` wrote" in capsys.readouterr().err
    assert (Path("X") / "model.safetensors").read_bytes() == first
