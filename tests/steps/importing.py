"""Importing in tests: save what the original would save, and compare what comes of it."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cavmae.models import CAVMAE
from cavmae.models.folder import read_model
from tests.models.official import SIZES, TOLD
from tests.training.tiny import run_step

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def imported(folder: Path, state: Any, name: str = "audio_model.25.pth", **changes: Any) -> Path:
    """Save what the original would save, import it, and return the model folder."""
    folder.mkdir(exist_ok=True)
    (save_file if name.endswith(".safetensors") else torch.save)(state, folder / name)
    run_step("import", {"checkpoint": folder / name, "out": folder / "model"}, **(TOLD | changes))
    return folder / "model"


def inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(batch, SIZES["audio_length"], 128), torch.randn(batch, 3, SIZES["img_size"], SIZES["img_size"])


def equal_pretraining(source: CAVMAE, folder: Path) -> bool:
    _, model = read_model(folder)
    assert isinstance(model, CAVMAE)
    audio, image = inputs()
    results = []
    with torch.no_grad():
        for each in (source, model):
            torch.manual_seed(5)
            results.append([*each(audio, image), *each.forward_feat(audio, image)])
    return all(torch.equal(one, other) for one, other in zip(*results, strict=True))
