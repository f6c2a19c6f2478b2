"""Reading the state dict in a file: names and tensors, as torch or safetensors wrote them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.folder import read_weights
from cavmae.models.safe_load import load_safely

_WRAPPERS = ("model", "state_dict")
_LONGEST_NAME = 200
LARGEST_BYTES = 16 << 30  # twenty times the published base model


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a `.safetensors` or a torch file, also where it stands under `model` or `state_dict`.

    No code in the file is run. Raises InputError where it is no such file, and naming the tensor that is no plain one.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is not a file")
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise InputError(f"{path}: holds {size / 1e9:.0f} GB; no checkpoint of such a model is that large")
    state = read_weights(path) if path.suffix == ".safetensors" or _looks_like_safetensors(path) else _torch_state(path)
    if not state:
        raise InputError(f"{path}: holds no tensors")
    for key, value in state.items():
        if not key.isprintable() or len(key) > _LONGEST_NAME:
            raise InputError(f"{path}: {key[:40]!r} is not the name of a parameter")
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise InputError(f"{path}: {key} is no plain tensor with its numbers in the file")
    if sum(value.numel() * value.element_size() for value in state.values()) > size:
        raise InputError(f"{path}: the shapes of its tensors promise more numbers than the file holds")
    return state


def _looks_like_safetensors(path: Path) -> bool:
    """Whether a file begins like one of safetensors: files that are kept by their hash have no ending to tell."""
    try:
        with path.open("rb") as file:
            start = file.read(10)
    except OSError:  # whoever reads on says why
        return False
    return start[8:] == b'{"' and int.from_bytes(start[:8], "little") < path.stat().st_size


def _torch_state(path: Path) -> dict[str, Tensor]:
    try:
        content = load_safely(path, mapped=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not a checkpoint that can be read safely ({error})") from None
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if isinstance(content, dict) and "param_groups" in content:
        raise InputError(
            f"{path}: is the state of an optimizer, not of a model; give the model's file beside it, such as best_audio_model.pth"
        )
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    ):
        raise InputError(f"{path}: holds no state dict (names and tensors), but {_summary(content)}")
    return content


def _summary(content: Any) -> str:
    """What was found instead, in a few words."""
    if not isinstance(content, dict):
        return type(content).__name__
    if not content:
        return "nothing"
    named = [f"{key!r:.40} ({type(value).__name__})" for key, value in content.items() if not isinstance(value, Tensor)]
    named = named or [f"the key {key!r:.40}" for key in content if not isinstance(key, str)]
    return ", ".join(named[:4]) + (" and more" if len(named) > 4 else "")
