"""Weights by the golden fill formula."""

from types import ModuleType

import torch
from torch import nn


def fill(model: nn.Module, formula: ModuleType, gain: float = 3.0, keep: tuple[str, ...] = ("pos_embed",)) -> nn.Module:
    """Overwrite every entry of the state dict but those whose key contains a word of `keep`."""
    state = model.state_dict()
    for key, value in state.items():
        filled = None if any(word in key for word in keep) else formula.fill(key, tuple(value.shape), gain)
        if filled is not None:
            state[key] = torch.from_numpy(filled)
    model.load_state_dict(state)
    return model.eval()
