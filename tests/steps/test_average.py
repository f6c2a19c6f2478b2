"""The step `average`: one classifier from several epochs."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cavmae.errors import InputError
from cavmae.models.folder import read_config, read_model
from cavmae.storage import sha256_file
from tests.training.tiny import run_step, same_files, tiny


def averaged(out: Path, **changes: object) -> Path:
    run_step("average", {"start": tiny().classifier(), "model": out}, **changes)
    return out


def test_the_model_is_the_mean_of_its_epochs_and_says_which(tmp_path: Path) -> None:
    folder = averaged(tmp_path / "m", by="range", first_epoch=2, last_epoch=3)
    start = tiny().classifier()
    second, third = (load_file(start / "epochs" / f"epoch-000{epoch}.safetensors") for epoch in (2, 3))
    _, model = read_model(folder)
    for key, value in model.state_dict().items():
        assert torch.equal(value, (second[key] + third[key]) / 2), key
    assert read_config(folder) == read_config(start)
    lineage = json.loads((folder / "lineage.json").read_text())
    assert lineage["step"] == "average" and lineage["epochs"] == {
        f"epoch-000{epoch}.safetensors": sha256_file(start / "epochs" / f"epoch-000{epoch}.safetensors") for epoch in (2, 3)
    }
    assert same_files(folder, averaged(tmp_path / "n", by="range", first_epoch=2, last_epoch=3)) == []


def test_a_model_without_epochs_and_epochs_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train with keep_epochs above 0"):
        run_step("average", {"start": tiny().pretrained, "model": tmp_path / "m"})
    import shutil

    folder = Path(shutil.copytree(tiny().classifier(), tmp_path / "odd"))
    for path in (folder / "epochs").iterdir():
        save_file({"x": torch.ones(1)}, path)
    with pytest.raises(InputError, match="the weights do not fit the model: missing"):
        run_step("average", {"start": folder, "model": tmp_path / "m"})
    assert not (tmp_path / "m").exists()
