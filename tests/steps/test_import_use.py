"""What the other commands do with an imported model."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from cavmae.errors import InputError
from cavmae.models import CAVMAEFT
from cavmae.models.folder import read_config, read_model
from tests.models.official import parallel
from tests.steps.importing import imported
from tests.training.tiny import run_step, tiny, train

SAME: dict[str, Any] = {"num_heads": 2, "decoder_num_heads": 2, "num_mel_bins": 32, "window_s": 1.0}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def data_labels(folder: Path) -> Path:
    rows = [f"{n},{label.mid},{label.display_name}\n" for n, label in enumerate(read_config(tiny().classifier()).labels or ())]
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("index,mid,display_name\n" + "".join(rows))
    return folder / "labels.csv"


@pytest.mark.usefixtures("work")
def test_training_starts_from_an_imported_model(tmp_path: Path) -> None:
    source = tiny().pretrained
    start = imported(tmp_path / "start", parallel(load_file(source / "model.safetensors")), **SAME)
    assert read_config(start).architecture == read_config(source).architecture
    more = train("pretrain", tmp_path / "p", tiny().dataset, start, epochs=1, warmup_epochs=0)
    assert read_config(more).kind == "pretrained"
    tuned = train("finetune", tmp_path / "f", tiny().dataset, start, epochs=1, warmup_epochs=0, keep_epochs=0)
    assert read_config(tuned).labels == read_config(tiny().classifier()).labels
    lineage = json.loads((tuned / "lineage.json").read_text())
    assert lineage["parents"]["start"]["lineage"]["checkpoint"]["audio_model.25.pth"]


@pytest.mark.usefixtures("work")
def test_fine_tuning_goes_on_from_an_imported_classifier_and_knows_its_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels, weights = data_labels(tmp_path / "labels"), parallel(load_file(tiny().classifier() / "model.safetensors"))
    start = imported(tmp_path / "c", weights, labels_csv=labels, single_label="true", **SAME)
    with caplog.at_level(logging.INFO):
        train("finetune", tmp_path / "f", tiny().dataset, start, epochs=1, warmup_epochs=0, keep_epochs=0)
    assert "the head keeps 8 of 8 labels, 0 are new" in caplog.text
    with pytest.raises(InputError, match="is a classifier; pretraining starts from an adapted or pretrained model"):
        train("pretrain", tmp_path / "p", tiny().dataset, start)


@pytest.mark.usefixtures("work")
def test_an_audio_only_model_predicts_and_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tiny().classifier("audioonly")
    config, whole = read_model(source)
    sizes = {key: value for key, value in config.architecture.model_dump().items() if not key.startswith("decoder_")}
    alone = CAVMAEFT(len(config.labels or ()), **sizes, modalities="a").state_dict()
    state = {key: value for key, value in whole.state_dict().items() if key in alone}
    told = SAME | {"mean": config.normalisation.mean, "std": config.normalisation.std, "single_label": "true"}
    model = imported(tmp_path / "a", parallel(state), labels_csv=data_labels(tmp_path / "a"), **told)

    def evaluate(out: Path, **models: Path) -> Any:
        folders: dict[str, Path | None] = dict.fromkeys(("model", "audio_model", "video_model", "pretrained", "curves"))
        outputs = {"metrics": out / "m.json", "plots": out / "plots", "report": out / "report.html"}
        run_step("evaluate", folders | {"dataset": tiny().dataset} | models | outputs, replicates=0)
        return json.loads((out / "m.json").read_text())["test"]["audio"]

    assert evaluate(tmp_path / "e1", audio_model=model) == evaluate(tmp_path / "e2", audio_model=source)
    with pytest.raises(InputError, match="is a model of sound alone, without visual parts; retrieval needs one of both"):
        evaluate(tmp_path / "e3", pretrained=model)
    film = next(iter(sorted((tiny().root / "data" / "ingest" / "sample").rglob("*.mp4"))))
    lines = []
    for folder in (model, source):
        (predicted,) = run_step("predict", {"videos": [film], "model": folder})  # type: ignore[dict-item]
        lines.append(predicted.scores)
    assert len(lines[0]) == 3 and lines[0] == lines[1]
    run_step("package", {"start": model, "metrics": tmp_path / "e1" / "m.json", "model": tmp_path / "final"})
    folders: dict[str, Any] = {"videos": [], "dataset": tiny().dataset, "model": model, "out": tmp_path / "features.npz"}
    run_step("embed", folders, modality="audio")
    assert (tmp_path / "features.npz").is_file()
    with pytest.raises(InputError, match="modality=all needs one of both modalities; or set modality=audio"):
        run_step("embed", folders)
    more = train("finetune", tmp_path / "f", tiny().dataset, model, mode="audioonly", epochs=1, warmup_epochs=0, keep_epochs=0)
    assert read_config(more).modalities == "a"
    with pytest.raises(InputError, match="without visual parts; fine-tuning in mode multimodal needs one of both modalities"):
        train("finetune", tmp_path / "no", tiny().dataset, model)
    card = (tmp_path / "final" / "README.md").read_text()
    assert "of video: 16 kHz mono sound as 96 x 32 log-mel values" in card and "pictures of" not in card
