"""The step `finetune`: it starts from what it was given, and writes a classifier."""

import json
from pathlib import Path

import pytest
import torch

from cavmae.models.folder import LabelName, read_config, read_model, write_model
from cavmae.training.curves import read_curves
from tests.training.tiny import same_files, tiny, train


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def test_a_frozen_base_keeps_the_pretrained_weights_and_a_start_from_scratch_does_not(tmp_path: Path) -> None:
    frozen = train("finetune", tmp_path / "f", tiny().dataset, tiny().pretrained, freeze_base="true", epochs=2)
    scratch = train("finetune", tmp_path / "s", tiny().dataset, tiny().pretrained, from_scratch="true", epochs=2)
    (_, start), (_, kept), (_, fresh) = read_model(tiny().pretrained), read_model(frozen), read_model(scratch)
    before, after, drawn = start.state_dict(), kept.state_dict(), fresh.state_dict()
    base = [key for key in after if not key.startswith("mlp_head")]
    assert len(base) > 50 and all(torch.equal(after[key], before[key]) for key in base)
    assert (after["mlp_head.1.weight"] - drawn["mlp_head.1.weight"]).abs().max() > 0
    assert not torch.equal(drawn["patch_embed_v.proj.weight"], before["patch_embed_v.proj.weight"])


def test_the_classifier_carries_labels_mode_and_the_statistics_of_its_start() -> None:
    folder = tiny().classifier("audioonly")
    config, start = read_config(folder), read_config(tiny().pretrained)
    assert config.kind == "classifier" and config.mode == "audioonly" and config.single_label is True
    assert [label.mid for label in config.labels or ()] == sorted(label.mid for label in config.labels or ())
    assert config.normalisation == start.normalisation and config.norm_pix_loss is None
    rows = read_curves(folder / "curves.tsv")
    assert [row["epoch"] for row in rows] == [1, 2, 3] and {"val_loss", "val_accuracy", "val_mAP"} <= set(rows[0])
    lineage = json.loads((folder / "lineage.json").read_text())
    line = []
    while lineage:
        line.append(lineage["step"])
        lineage = next(iter(lineage["parents"].values()), {}).get("lineage")
    assert line == ["finetune", "pretrain", "adapt"]


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    again = train("finetune", tmp_path, tiny().dataset, tiny().pretrained, mode="multimodal")
    assert same_files(again, tiny().classifier()) == []


def test_from_a_classifier_the_head_keeps_the_rows_of_known_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, parent = read_model(tiny().classifier())
    labels = list(config.labels or ())
    renamed = [LabelName(mid="gone", display_name="gone"), *labels[2:], labels[0]]  # one unknown here, one lost, another order
    state = dict(parent.state_dict())
    for key in ("mlp_head.1.weight", "mlp_head.1.bias"):
        state[key] = torch.cat([torch.full_like(state[key][:1], 7.0), state[key][2:], state[key][:1]])
    start = tmp_path / "start"
    write_model(start, config.model_copy(update={"labels": renamed}), state, {"step": "test", "parents": {}})
    caplog.set_level("INFO", logger="cavmae")
    tuned = train("finetune", tmp_path / "out", tiny().dataset, start, lr=1e-12, epochs=2)
    assert "the head keeps 7 of 8 labels, 1 are new" in caplog.text
    _, model = read_model(tuned)
    got, want = model.state_dict(), parent.state_dict()
    for key in ("mlp_head.1.weight", "mlp_head.1.bias", "mlp_head.0.weight", "blocks_u.0.mlp.fc1.weight"):
        same = [torch.allclose(row, wanted, atol=1e-6) for row, wanted in zip(got[key], want[key], strict=True)]
        assert same == [True] * len(same) if ".1." not in key else same == [True, False, *[True] * 6], key
