"""The moving average of the weights: what it is, that it is what is validated and kept, and that a stopped run continues it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cavmae.errors import Interrupted
from cavmae.training.moving_average import MovingAverage
from tests.training.toy import Toy, toy_engine

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0]
KEPT: dict[str, Any] = {"epochs": 4, "ema_decay": 0.5, "keep_epochs": 4, "batch_size": 5}


def test_it_is_the_mean_with_a_lower_decay_in_the_first_steps() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(10.0)
    average, expected = MovingAverage(model, 0.3), 10.0
    for step in range(1, 6):
        model.weight.data.fill_(float(step))
        average.update(step)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert average.state_dict()["weight"].item() == pytest.approx(expected)
    with average.in_place():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 5.0


def test_weights_that_are_not_trained_stay_out_and_the_model_gets_its_own_back_after_an_error() -> None:
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    average = MovingAverage(model, 0.9)
    assert list(average.state_dict()) == ["weight"]
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    with pytest.raises(RuntimeError, match="meanwhile"), average.in_place():
        assert torch.equal(model.weight, before)
        raise RuntimeError("meanwhile")
    assert torch.equal(model.weight, before + 1)


def test_the_average_is_validated_and_kept_and_training_goes_on_from_the_weights(tmp_path: Path) -> None:
    plain, averaged = Toy(VALUES), Toy(VALUES)
    toy_engine(plain, tmp_path / "plain", **KEPT | {"ema_decay": None}).run("toy")
    engine = toy_engine(averaged, tmp_path / "averaged", **KEPT)
    rows = engine.run("toy")
    assert torch.equal(plain.model.weight, averaged.model.weight), "the average does not touch training"
    mean, expected = 0.0, []
    for step in range(1, 5):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * -sum(VALUES) / 5 * step
        expected.append(mean)
    assert [row["val_weight"] for row in rows] == pytest.approx(expected, rel=1e-6)
    kept = [load_file(engine.epoch_weights(epoch))["weight"].item() for epoch in range(1, 5)]
    assert kept == pytest.approx(expected, rel=1e-6)
    with engine.stepper.averaged():
        assert averaged.model.weight.item() == pytest.approx(mean, rel=1e-6)


def test_a_stopped_run_continues_both(tmp_path: Path) -> None:
    class Stopped(Toy):
        def loss(self, batch: Any, device: torch.device) -> Any:
            if len(self.seen) == 2:
                raise Interrupted("stopped")
            return super().loss(batch, device)

    settings = KEPT | {"batch_size": 2}
    whole, again = Toy(VALUES), Toy(VALUES)
    rows = toy_engine(whole, tmp_path / "whole", **settings).run("toy")
    with pytest.raises(Interrupted):
        toy_engine(Stopped(VALUES), tmp_path / "cut", **settings).run("toy")
    engine = toy_engine(again, tmp_path / "cut", **settings)
    assert engine.run("toy") == rows and len(again.seen) == 4 * 3 - 2
    for epoch in range(1, 5):
        assert (
            engine.epoch_weights(epoch).read_bytes()
            == (tmp_path / "whole" / "work" / engine.epoch_weights(epoch).name).read_bytes()
        )
