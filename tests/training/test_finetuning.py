"""Fine-tuning: every mode trains, and every knob does what it says and no more."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cavmae.dataset.loader import ClipRecord, ClipSet, balance_weights
from cavmae.errors import InputError
from cavmae.models.cavmaeft import CAVMAEFT, MODES
from cavmae.models.folder import ModelConfig, read_config, read_model
from cavmae.steps.finetune import _classifier_config
from cavmae.training.finetuning import Finetuning, labelled, stratified_share
from cavmae.training.optimizer import build_optimizer
from tests.dataset.made import NOWHERE
from tests.training.tiny import params, tiny

CPU = torch.device("cpu")


@pytest.fixture
def data() -> ClipSet:
    return ClipSet(tiny().dataset)


def objective(data: ClipSet, **changes: Any) -> tuple[Finetuning, ModelConfig]:
    settings = params("finetune", **changes)
    config = _classifier_config(read_config(tiny().pretrained), data, settings)
    torch.manual_seed(0)
    model = config.build()
    assert isinstance(model, CAVMAEFT)
    return Finetuning(model, config, data, settings), config


def one_step(task: Finetuning, **changes: Any) -> dict[str, bool]:
    """Train one step; return for each parameter whether it changed."""
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    optimizer = build_optimizer(task.model, params("finetune", weight_decay=0.0, **changes), head_lr=5.0)
    loss, _ = task.loss(task.build(range(8), epoch=1), CPU)
    assert torch.isfinite(loss)
    loss.backward()
    optimizer.step()
    return {name: not torch.equal(value, before[name]) for name, value in task.model.named_parameters()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_every_mode_trains_what_it_uses_and_nothing_else(data: ClipSet, mode: str, mixup: float) -> None:
    task, _ = objective(data, mode=mode, mixup=mixup)
    changed = one_step(task)
    assert changed["mlp_head.1.weight"] and changed["blocks_u.0.attn.qkv.weight"]
    assert changed["patch_embed_a.proj.weight"] == ("video" not in mode)
    assert changed["patch_embed_v.proj.weight"] == ("audio" not in mode)


def test_a_frozen_base_leaves_everything_but_the_head_untouched(data: ClipSet) -> None:
    task, _ = objective(data, freeze_base=True)
    changed = one_step(task)
    assert {name for name, is_changed in changed.items() if is_changed} == {
        name for name in changed if name.startswith("mlp_head")
    }


def with_labels(data: ClipSet, labels_of_first: tuple[int, ...]) -> ClipSet:
    data.splits["train"][0] = replace(data.splits["train"][0], labels=labels_of_first)
    return data


def test_auto_takes_ce_for_one_label_a_clip_and_bce_for_several(data: ClipSet) -> None:
    _, config = objective(data, label_smoothing=0.0)
    assert config.single_label
    several, multi = objective(with_labels(data, (0, 3)), label_smoothing=0.0)
    assert multi.single_label is False
    batch = several.build(range(4), epoch=1)
    assert batch.targets is not None and batch.targets[0].sum() == 2
    with torch.no_grad():
        logits = several.model(several.front_end.audio(batch.raw, batch.draws), several.front_end.images(batch.raw), "multimodal")
        got, _ = several.loss(batch, CPU)
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.targets)
    assert got.item() == pytest.approx(want.item())


def test_the_loss_can_be_chosen_against_the_labels(data: ClipSet) -> None:
    assert objective(data, loss="bce")[1].single_label is False
    assert objective(with_labels(data, (0, 3)), loss="ce")[1].single_label is True


def test_smoothing_moves_the_loss_and_weights_of_mixup_mix_the_targets(data: ClipSet) -> None:
    plain, smooth = objective(data, label_smoothing=0.0)[0], objective(data, label_smoothing=0.4)[0]
    batch = plain.build(range(6), epoch=1)
    with torch.no_grad():
        assert plain.loss(batch, CPU)[0].item() != smooth.loss(batch, CPU)[0].item()
        mixed = replace(
            batch,
            partner=plain.build(range(6, 12), epoch=1).raw,
            partner_targets=plain.build(range(6, 12), epoch=1).targets,
            weight=torch.ones(6),
        )
        assert plain.loss(mixed, CPU)[0].item() == pytest.approx(plain.loss(batch, CPU)[0].item(), rel=1e-6)


def test_a_fraction_of_the_labels_keeps_every_label_and_is_the_same_again(data: ClipSet) -> None:
    clips = data.split("train")
    half = stratified_share(clips, 0.5, seed=1)
    assert len(half) == 16 and {clip.labels for clip in half} == {clip.labels for clip in clips}
    assert half == stratified_share(clips, 0.5, seed=1) != stratified_share(clips, 0.5, seed=2)
    assert len(stratified_share(clips, 0.01, seed=1)) == 8
    assert len(objective(data, label_fraction=0.25)[0].train.clips) == 8


def test_balanced_sampling_draws_rare_labels_as_often_as_frequent_ones(data: ClipSet) -> None:
    frequent = [clip for clip in data.splits["train"] if clip.labels == (0,)]
    data.splits["train"] += frequent * 12
    task, _ = objective(data, balanced_sampling=True)
    drawn = [task.train.clips[index].labels[0] for epoch in range(1, 30) for index in task.order(epoch)]
    assert abs(drawn.count(0) / len(drawn) - 1 / 8) < 0.03
    plain, _ = objective(data)
    assert sorted(plain.order(1)) == list(range(len(plain.train.clips)))


def test_sampling_weights_are_the_originals(golden: Path) -> None:
    # arithmetic in float64: exact but for the last digits
    want = json.loads((golden / "metrics" / "expected.json").read_text())["sample_weights"]
    names = sorted({name for row in want["labels"] for name in row.split(",")})
    clips = [
        ClipRecord(str(at), "", "", tuple(names.index(name) for name in row.split(",")), NOWHERE, 0, 0)
        for at, row in enumerate(want["labels"])
    ]
    np.testing.assert_allclose(balance_weights(clips), want["weights"], rtol=1e-12)


def test_validation_figures_are_numbers_and_absent_without_clips(data: ClipSet) -> None:
    task, _ = objective(data)
    figures = task.validate(CPU, 1)
    assert set(figures) == {"loss", "accuracy", "mAP"} and all(type(value) is float for value in figures.values())
    assert figures["loss"] == pytest.approx(float(np.log(8)), rel=0.5), "an untrained model guesses among 8 labels"
    data.splits["val"] = []
    assert objective(data)[0].validate(CPU, 1) == {}


def test_validation_leaves_the_smaller_last_batch_out_only_where_asked(data: ClipSet) -> None:
    assert len(objective(data, batch_size=3)[0].val_clips) == 8
    assert len(objective(data, batch_size=3, drop_last="true")[0].val_clips) == 6
    assert objective(data, batch_size=12, drop_last="true")[0].validate(CPU, 1) == {}


@pytest.mark.parametrize(("official", "own"), [("false", 0.9 + 0.1 / 8), ("true", 0.9)])
def test_targets_follow_the_smoothing_asked_for(data: ClipSet, official: str, own: float) -> None:
    task, _ = objective(data, label_smoothing=0.1, official_smoothing=official, loss="bce")
    batch = task.build([0, 1], 1)
    logits = task.model(batch.inputs.audio, batch.inputs.images, "multimodal")  # type: ignore[union-attr]
    assert batch.targets is not None
    wanted = torch.where(batch.targets > 0, own, 0.1 / 8)
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
    assert task.loss(batch, CPU)[0].item() == pytest.approx(want.item(), rel=1e-6)


def test_figures_of_the_curves_count_as_asked(data: ClipSet) -> None:
    data.splits["val"] = [clip for clip in data.splits["val"] if clip.labels != (0,)]
    ours, official = (objective(data, official_metrics=flag)[0].validate(CPU, 1) for flag in ("false", "true"))
    assert official["mAP"] == pytest.approx(ours["mAP"] * 7 / 8)


def test_data_without_labels_are_refused(data: ClipSet) -> None:
    data.splits["train"] = [replace(clip, labels=()) for clip in data.splits["train"]]
    with pytest.raises(InputError, match="split 'train' holds no labelled clips; fine-tuning needs labels"):
        labelled(data, "train")


def test_trained_models_differ_by_mode_in_their_configuration_only_in_mode() -> None:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT) and config.mode == "multimodal" and len(config.labels or ()) == 8
    start = read_config(tiny().pretrained)
    assert (config.architecture, config.clip, config.normalisation) == (start.architecture, start.clip, start.normalisation)
