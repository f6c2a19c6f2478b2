"""The step `pretrain` on real shards: what it writes, that equal inputs give equal bytes, and how it fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cavmae.cli import main
from cavmae.dataset.loader import ClipSet
from cavmae.dataset.records import decode_frame
from cavmae.errors import InputError
from cavmae.models.cavmae import CAVMAE
from cavmae.models.folder import read_config, read_model
from cavmae.training.curves import read_curves
from cavmae.training.pretraining import Pretraining
from tests.training.tiny import arguments, params, same_files, tiny, train


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def test_equal_inputs_give_equal_bytes_and_another_seed_other_weights(tmp_path: Path) -> None:
    first = train("pretrain", tmp_path / "a", tiny().dataset, tiny().adapted)
    again = train("pretrain", tmp_path / "b", tiny().dataset, tiny().adapted)
    other = train("pretrain", tmp_path / "c", tiny().dataset, tiny().adapted, seed=1)
    assert same_files(first, again) == [] == same_files(first, tiny().pretrained)
    assert (tmp_path / "a" / "curves.tsv").read_bytes() == (tmp_path / "b" / "curves.tsv").read_bytes()
    assert "model.safetensors" in same_files(first, other)


def test_folder_curves_events_and_lineage_are_written(tmp_path: Path) -> None:
    model = train("pretrain", tmp_path, tiny().dataset, tiny().adapted, keep_epochs=1, norm_pix_loss="false")
    names = sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    assert names == ["config.json", "curves.tsv", "epochs/epoch-0002.safetensors", "lineage.json", "model.safetensors"]
    rows = read_curves(tmp_path / "curves.tsv")
    assert [row["epoch"] for row in rows] == [1, 2]
    for split in ("train", "val"):
        assert {f"{split}_{name}" for name in ("loss", "mae_a", "mae_v", "contrast", "contrast_accuracy")} <= set(rows[0])
    assert rows[1]["train_mae_a"] < rows[0]["train_mae_a"]
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))
    lineage = json.loads((model / "lineage.json").read_text())
    assert lineage["step"] == "pretrain" and lineage["params"]["norm_pix_loss"] is False
    assert lineage["parents"]["start"]["lineage"]["step"] == "adapt" and len(lineage["dataset"]["clips.parquet"]) == 64
    assert read_config(model).norm_pix_loss is False
    assert str(tmp_path) not in (model / "lineage.json").read_text()


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_a_rate_far_too_high_ends_with_1_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], optimizer: str) -> None:
    words = arguments("pretrain", lr=1e38, optimizer=optimizer, clip_grad_norm=None)
    folders = {"dataset": tiny().dataset, "start": tiny().adapted}
    folders |= {"model": tmp_path / "m", "curves": tmp_path / "c.tsv", "events": tmp_path / "e"}
    assert main([*words, *(word for name, path in folders.items() for word in (f"--{name}", str(path)))]) == 1
    complaint = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cavmae pretrain: ")]
    assert len(complaint) == 1 and "lower lr or set clip_grad_norm" in complaint[0]
    assert not (tmp_path / "m").exists() and not (tmp_path / "c.tsv").exists()


def test_a_classifier_and_a_folder_that_is_no_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a classifier; pretraining starts from an adapted or pretrained model"):
        train("pretrain", tmp_path, tiny().dataset, tiny().classifier())
    with pytest.raises(InputError, match=r"index\.json is missing; run `cavmae validate` first"):
        train("pretrain", tmp_path / "out", tmp_path / "nothing", tiny().adapted)


def test_the_objective_counts_and_masks_as_the_parameters_say() -> None:
    config, model = read_model(tiny().pretrained)
    assert isinstance(model, CAVMAE) and model.chain_contrast and not model.official_ties
    data, device = ClipSet(tiny().dataset), torch.device("cpu")
    whole = Pretraining(model.eval(), config, data, params("pretrain", mask_mode="tf"))
    assert model.chain_contrast and not model.official_ties and whole.train.masks == whole.val.masks
    flags = {"replicas": 4, "official_ties": "true", "chain_contrast": "false"}
    task = Pretraining(model, config, data, params("pretrain", mask_mode="tf", **flags))
    assert not model.chain_contrast and model.official_ties and task.train.masks is not None and task.train.masks.official_ties
    alone = Pretraining(model, config, data, params("pretrain", mask_mode="tf", **flags | {"replicas": 1}))
    with torch.no_grad():
        quarters = [alone.loss(alone.build(range(at, at + 2), 1), device) for at in range(0, 8, 2)]
        loss, meters = task.loss(task.build(range(8), 1), device)
    assert loss.item() == pytest.approx(sum(part[0].item() for part in quarters), rel=1e-5)
    assert meters["mae_a"].item() == pytest.approx(sum(part[1]["mae_a"].item() for part in quarters), rel=1e-5)


def test_validation_looks_at_the_middle_frame_and_training_at_drawn_ones() -> None:
    config, model = read_model(tiny().pretrained)
    assert isinstance(model, CAVMAE)
    task = Pretraining(model, config, ClipSet(tiny().dataset), params("pretrain"))
    size = config.architecture.img_size
    for builder, fixed in ((task.val, True), (task.train, False)):
        middle = np.stack([decode_frame(clip.members(), 2, size) for clip in builder.clips[:8]])
        same = [np.array_equal(builder.build(range(8), epoch).raw.frames.numpy(), middle) for epoch in (1, 2)]
        assert same == [fixed, fixed]


def test_validation_masks_are_the_same_in_every_epoch_unless_they_are_not_to_be_fixed() -> None:
    config, model = read_model(tiny().pretrained)
    assert isinstance(model, CAVMAE)
    task_data = ClipSet(tiny().dataset)
    task = Pretraining(model.eval(), config, task_data, params("pretrain"))
    loose = Pretraining(model, config, task_data, params("pretrain", fixed_validation="false"))
    short = Pretraining(model, config, task_data, params("pretrain", drop_last="true", batch_size=5))
    with torch.no_grad():
        assert task.validate(torch.device("cpu"), 1) == task.validate(torch.device("cpu"), 2)
        assert loose.validate(torch.device("cpu"), 1) != loose.validate(torch.device("cpu"), 2)
        first_five = Pretraining(model, config, task_data, params("pretrain", batch_size=5))
        first_five.val = replace(first_five.val, clips=first_five.val.clips[:5])
        assert short.validate(torch.device("cpu"), 1) == first_five.validate(torch.device("cpu"), 1)
    assert not torch.equal(task.build([0], 1).noise_a, task.build([0], 2).noise_a)  # type: ignore[arg-type]
