"""A batch in pieces gives the gradients of the whole batch: by cached gradients for the contrast, by plain sums elsewhere.

In float64 both agree to 1e-9. In float32, over the steps of a tiny run, figures are held to 1e-5 and weights to 1e-5 where
training moved them by 1e-2; sums are taken in another order.
"""

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipSet
from cavmae.features.augment import Draws
from cavmae.features.front_end import RawBatch
from cavmae.models.batch_share import BatchShare
from cavmae.models.folder import read_model
from cavmae.training.batches import TrainBatch
from cavmae.training.micro_batches import pieces
from cavmae.training.pretraining import Pretraining
from tests.training.launch import finished, torchrun, words
from tests.training.test_several_processes import check_same
from tests.training.tiny import params, tiny, train

CPU = torch.device("cpu")
RELATIVE = 1e-7  # of figures; the accuracy is in float32 whatever the model is in


def test_pieces_hold_every_clip_once_with_all_that_belongs_to_it() -> None:
    count = 7
    rows = torch.arange(count)
    raw = RawBatch(rows[:, None] + torch.zeros(count, 3), rows, rows[:, None, None, None])
    draws = Draws(*[np.arange(count)] * 7)
    share = BatchShare.alone(count)
    batch = TrainBatch(list(range(count)), raw, draws, targets=rows.float(), partner=raw, noise_a=rows[:, None], share=share)  # type: ignore[arg-type]
    found = list(pieces(batch, 3))
    assert [start for start, _ in found] == [0, 3, 6] and [len(piece.clips) for _, piece in found] == [3, 3, 1]
    for start, piece in found:
        wanted = list(range(start, min(start + 3, count)))
        assert piece.clips == wanted and piece.share is None and piece.noise_v is None and piece.inputs is None
        for value in (piece.raw.lengths, piece.raw.frames.flatten(), piece.partner.lengths, piece.targets, piece.noise_a[:, 0]):  # type: ignore[union-attr,index]
            assert value.tolist() == wanted  # type: ignore[union-attr]
        assert piece.draws.roll.tolist() == wanted
    assert list(pieces(TrainBatch.empty(), 3)) == []


def pretraining(**changes: Any) -> tuple[Pretraining, TrainBatch]:
    config, model = read_model(tiny().adapted)
    objective = Pretraining(model.double(), config, ClipSet(tiny().dataset), params("pretrain", **changes))  # type: ignore[arg-type]
    batch = objective.build(list(range(7)), 1)
    assert batch.inputs is not None and batch.inputs.audio is not None and batch.inputs.images is not None
    inputs = batch.inputs._replace(audio=batch.inputs.audio.double(), images=batch.inputs.images.double())
    return objective, replace(batch, inputs=inputs)


def numbers(meters: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in meters.items()}


def gradients(objective: Pretraining) -> dict[str, Tensor]:
    found = {name: value.grad for name, value in objective.model.named_parameters() if value.grad is not None}
    objective.model.zero_grad()
    return found


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("weights", [(1.0, 0.5), (0.0, 1.0), (1.0, 0.0)])
def test_pretraining_in_pieces_has_the_loss_and_the_gradient_of_the_whole_batch(size: int, weights: tuple[float, float]) -> None:
    changes = {"mae_loss_weight": weights[0], "contrast_loss_weight": weights[1], "replicas": 2}
    objective, batch = pretraining(**changes)
    loss, meters = objective.loss(batch, CPU)
    loss.backward()
    expected = gradients(objective)
    calls = 0

    def backward(part: Tensor) -> None:
        nonlocal calls
        calls += 1
        part.backward()

    found = objective.accumulate(batch, CPU, size, contextlib.nullcontext, backward)
    assert calls == -(-7 // size)
    wanted = {"loss": loss, **meters}
    assert numbers(found) == pytest.approx(numbers(wanted), rel=RELATIVE)
    got = gradients(objective)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-9, atol=1e-14, msg=name)


def test_without_contrast_the_clips_pass_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for weight, passes in ((0.0, 3), (1.0, 6)):
        objective, batch = pretraining(contrast_loss_weight=weight)
        seen = []
        objective.model.blocks_a[0].register_forward_pre_hook(lambda module, given, seen=seen: seen.append(len(given[0])))
        objective.accumulate(batch, CPU, 3, contextlib.nullcontext, Tensor.backward)
        assert seen == [3, 3, 1] * (passes // 3)


@pytest.mark.parametrize("cuts", [[0, 4, 7], [0, 1, 7, 7]])
def test_pieces_of_the_shares_of_several_processes_add_up_to_the_batch(cuts: list[int]) -> None:
    objective, batch = pretraining(contrast_loss_weight=0.5, replicas=2)
    loss, meters = objective.loss(batch, CPU)
    loss.backward()
    expected, rows = gradients(objective), []
    objective.accumulate(
        replace(batch, share=BatchShare(0, 7, 7, lambda own: rows.append(own.detach()) or own)),  # type: ignore[func-returns-value]
        CPU,
        7,
        contextlib.nullcontext,
        lambda part: None,
    )
    found, sums = dict.fromkeys(expected, torch.zeros((), dtype=torch.float64)), dict.fromkeys(("loss", *meters), 0.0)
    for start, stop in itertools.pairwise(cuts):
        ready = iter(rows)

        def gather(own: Tensor, start: int = start, stop: int = stop, ready: Any = ready) -> Tensor:
            whole = next(ready)
            return torch.cat([whole[:start], own.to(whole.dtype), whole[stop:]])

        _, piece = next(pieces(batch, 7))
        part = replace(next(iter(_cut(piece, start, stop))), share=BatchShare(start, stop, 7, gather))
        measured = objective.accumulate(part, CPU, 2, contextlib.nullcontext, Tensor.backward)
        sums = {name: sums[name] + float(value) for name, value in measured.items()}
        for name, value in gradients(objective).items():
            found[name] = found[name] + value
    assert sums == pytest.approx(numbers({"loss": loss, **meters}), rel=RELATIVE)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-14, msg=name)


def _cut(batch: TrainBatch, start: int, stop: int) -> list[TrainBatch]:
    """Clips `start` to `stop` of a batch, which may be none."""
    if start == stop:
        return [TrainBatch.empty()]
    singles = [piece for _, piece in pieces(batch, 1)][start:stop]

    def joined(values: list[Any]) -> Any:
        return torch.cat(values) if isinstance(values[0], Tensor) else None

    inputs = [single.inputs for single in singles]
    return [
        replace(
            singles[0],
            clips=[clip for single in singles for clip in single.clips],
            noise_a=joined([single.noise_a for single in singles]),
            noise_v=joined([single.noise_v for single in singles]),
            inputs=type(inputs[0])(*(joined([getattr(item, name) for item in inputs]) for name in ("audio", "images"))),  # type: ignore[misc]
            raw=RawBatch(*(joined([getattr(single.raw, name) for single in singles]) for name in vars(singles[0].raw))),
        )
    ]


@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_a_run_in_pieces_ends_where_a_run_with_whole_batches_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    start = tiny().adapted if step == "pretrain" else tiny().pretrained
    changes: dict[str, Any] = {"batch_size": 10, "keep_epochs": 0, "epochs": 2}
    changes |= {"mixup": 0.5, "noise": "true"} if step == "finetune" else {"replicas": 2}
    for name, size in (("whole", None), ("pieces", 3)):
        train(step, tmp_path / name, tiny().dataset, start, **changes, micro_batch=size)
    for name in ("config.json", "lineage.json"):
        path = tmp_path / "pieces" / "model" / name
        path.write_bytes((tmp_path / "whole" / "model" / name).read_bytes())
    check_same(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_three_processes_in_pieces_end_where_one_with_whole_batches_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from cavmae.cli import main

    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    assert main(words(step, tmp_path / "one")) == 0
    code, messages = finished(torchrun(3, tmp_path / "three", words(step, tmp_path / "three", micro_batch=2)))
    assert code == 0, messages
    for name in ("lineage.json",):
        (tmp_path / "three" / "model" / name).write_bytes((tmp_path / "one" / "model" / name).read_bytes())
    check_same(tmp_path / "one", tmp_path / "three")
