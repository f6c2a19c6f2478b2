"""Names, shapes and order of all parameters against inventory/cavmae.json: official checkpoints must load strictly. Exact."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cavmae.models import CAVMAE, CAVMAEFT


def inventory(model: nn.Module) -> list[list[Any]]:
    kinds = {name: "param" if parameter.requires_grad else "param frozen" for name, parameter in model.named_parameters()}
    return [[key, list(value.shape), kinds.get(key, "buffer")] for key, value in model.state_dict().items()]


@pytest.mark.parametrize("name", ["CAVMAE", "CAVMAEFT_527"])
def test_the_base_model_has_exactly_the_official_parameters(golden: Path, name: str) -> None:
    want = json.loads((golden / "inventory" / "cavmae.json").read_text())[name]
    with torch.device("meta"):  # 191 million parameters without their memory
        model = CAVMAE() if name == "CAVMAE" else CAVMAEFT(527)
    assert sorted(inventory(model)) == sorted(want["state"])
    assert sum(parameter.numel() for parameter in model.parameters()) == want["n_params"]
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == want["n_trainable"]
    assert len(model.state_dict()) == want["n_state_entries"]
