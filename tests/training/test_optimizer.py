"""Learning-rate schedules, weight decay groups and the head's own rate."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from cavmae.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from tests.training.tiny import params


def rates(steps_per_epoch: int = 4, **changes: object) -> list[float]:
    settings = params("pretrain", lr=1.0, **changes)
    return [learning_rate(settings, step, steps_per_epoch) for step in range(settings.epochs * steps_per_epoch)]


def test_warm_up_rises_from_the_first_step_to_the_full_rate() -> None:
    got = rates(epochs=4, warmup_epochs=2, schedule="constant")
    assert got[:8] == pytest.approx([step / 8 for step in range(1, 9)])
    assert got[8:] == [1.0] * 8


def test_cosine_falls_from_the_full_rate_towards_zero_and_never_below() -> None:
    got = rates(epochs=10, warmup_epochs=1, schedule="cosine")
    after = got[4:]
    assert after[0] == 1.0 and after[18] == pytest.approx(0.5) and 0 < after[-1] < 0.01
    assert all(later < earlier for earlier, later in itertools.pairwise(after))


@pytest.mark.parametrize(
    ("recipe", "lr", "epochs", "start", "every"),
    [
        ("as_pretrain_base (lr 5e-5, start 10, step 5, decay .5, 25 epochs)", 5e-5, 25, 10, 5),
        ("as20k_ft (lr 5e-5, start 5, step 1, 15 epochs; head x100)", 5e-5, 15, 5, 1),
        ("vgg_ft (lr 1e-4, start 2, step 1, 10 epochs; head x10)", 1e-4, 10, 2, 1),
    ],
)
def test_steps_give_the_rate_that_the_original_used_in_each_epoch(
    golden: Path, recipe: str, lr: float, epochs: int, start: int, every: int
) -> None:
    want = json.loads((golden / "recipes.json").read_text())["lr_used_in_epoch_1_2_3"][recipe]
    settings = params(
        "pretrain",
        lr=lr,
        epochs=epochs,
        warmup_epochs=0,
        schedule="step",
        decay_start_epoch=start,
        decay_every_epochs=every,
        decay_factor=0.5,
    )
    assert [learning_rate(settings, epoch * 7, 7) for epoch in range(epochs)] == pytest.approx(want)
    assert [learning_rate(settings, epoch * 7 + 6, 7) for epoch in range(epochs)] == pytest.approx(want)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.pos_embed_a = nn.Parameter(torch.zeros(1, 2, 3))
        self.mlp_head = nn.Linear(3, 2)
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


def test_adamw_decays_matrices_only_and_the_head_learns_faster() -> None:
    model = Net()
    optimizer = build_optimizer(model, params("finetune", optimizer="adamw", weight_decay=0.1), head_lr=10.0)
    names = {parameter: name for name, parameter in model.named_parameters()}
    set_learning_rate(optimizer, 0.5)
    found = {
        names[parameter]: (group["weight_decay"], group["lr"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {
        "body.weight": (0.1, 0.5),
        "body.bias": (0.0, 0.5),
        "pos_embed_a": (0.0, 0.5),
        "mlp_head.weight": (0.1, 5.0),
        "mlp_head.bias": (0.0, 5.0),
    }


def test_adam_is_the_originals_with_decay_on_everything() -> None:
    optimizer = build_optimizer(Net(), params("finetune", optimizer="adam", weight_decay=5e-7, beta1=0.95, beta2=0.999))
    assert type(optimizer) is torch.optim.Adam
    assert {(group["weight_decay"], group["betas"]) for group in optimizer.param_groups} == {(5e-7, (0.95, 0.999))}
