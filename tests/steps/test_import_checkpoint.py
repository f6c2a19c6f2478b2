"""The command `import`: what it says, writes and is told."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cavmae.cli import main
from cavmae.errors import InputError
from cavmae.models.folder import read_config
from cavmae.storage import sha256_file
from tests.models.official import TOLD, classifier, parallel, pretrained
from tests.steps.importing import imported
from tests.training.tiny import PARAMS, run_step, same_files


def test_what_was_recognised_is_said_and_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        folder = imported(tmp_path, parallel(pretrained().half().state_dict()), "cav-mae-base-nonorm.pth", norm_pix_loss="false")
    assert "import: CAVMAE, 0.103 M parameters: " in caplog.text and "3 + 1 layers of width 24, decoder 2 x 16" in caplog.text
    assert "taken off every name: module." in caplog.text and "stored as float32, was float16" in caplog.text
    assert "from the parameters: 3 heads, 4 in the decoder, log-mel mean -5.081 and std 4.4849" in caplog.text
    config = read_config(folder)
    assert config.norm_pix_loss is False
    assert config.clip.model_dump() == {
        "window_s": 0.6,
        "frames": 10,
        "frame_size": 48,
        "frame_index": "official",
        "sample_rate": 16000,
    }
    assert (config.normalisation.mean, config.normalisation.std) == (-5.081, 4.4849)
    lineage = json.loads((folder / "lineage.json").read_text())
    assert (lineage["step"], lineage["dataset"], lineage["parents"]) == ("import", None, {})
    assert lineage["params"]["num_heads"] == 3 and lineage["code"]["sha256"]
    name = "cav-mae-base-nonorm.pth"
    assert lineage["checkpoint"] == {name: sha256_file(tmp_path / name)}
    assert all(value.dtype == torch.float32 for value in load_file(folder / "model.safetensors").values())


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    one = imported(tmp_path / "a", parallel(classifier().state_dict()))
    run_step("import", {"checkpoint": tmp_path / "a" / "audio_model.25.pth", "out": tmp_path / "b"}, **TOLD)
    assert same_files(one, tmp_path / "b") == []


def test_a_label_list_names_the_outputs(tmp_path: Path) -> None:
    rows = "".join(f'{index},/m/{index},"Label, {index}"\n' for index in range(7))
    (tmp_path / "labels.csv").write_text("index,mid,display_name\n" + rows)
    state = parallel(classifier(7).state_dict())
    folder = imported(tmp_path / "7", state, labels_csv=tmp_path / "labels.csv", single_label="false")
    labels = read_config(folder).labels or []
    assert (labels[6].mid, labels[6].display_name) == ("/m/6", "Label, 6")
    with pytest.raises(InputError, match=r"has 527 outputs, .*labels\.csv lists 7 labels"):
        imported(tmp_path / "527", parallel(classifier().state_dict()), labels_csv=tmp_path / "labels.csv")
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
        imported(tmp_path / "none", state, labels_csv=tmp_path / "nowhere.csv", single_label="false")


def test_a_window_that_does_not_fill_the_spectrogram_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    imported(tmp_path, parallel(classifier().state_dict()), window_s=10)
    assert "a clip of 10 s makes 1000 frames, the model takes 64; set window_s" in caplog.text
    caplog.clear()
    imported(tmp_path, parallel(classifier().state_dict()))
    assert "set window_s" not in caplog.text
    imported(tmp_path, parallel(classifier().state_dict()), window_s=0.3)
    assert "a clip of 0.3 s makes 30 frames" in caplog.text


def test_the_command_line_takes_one_file_and_odd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(parallel(classifier().state_dict()), "-dash ünï.pth")
    words = ["import", "--params", str(PARAMS), "--num-heads", "3", "--window-s", "0.6", "--out", "m o/del"]
    assert main([*words, "--", "-dash ünï.pth"]) == 0
    assert read_config(tmp_path / "m o" / "del").kind == "classifier"
    assert main([*words, "--", "nowhere.pth"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "cavmae import: nowhere.pth: no such file"
