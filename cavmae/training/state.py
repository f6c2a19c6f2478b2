"""The state of a run as a checkpoint holds it: what is in it, and whether one that was read fits the run."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def run_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, step: int, sums: dict[str, float], rows: list[dict[str, float]]
) -> dict[str, Any]:
    """The state after `step` steps, with the tensors as they are: they change with the next step."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "sums": dict(sums),
        "rows": list(rows),
    }


def on_host(value: Any) -> Any:
    """A copy of a state whose tensors lie on the host and change no more."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_host(item) for key, item in value.items()}
    return [on_host(item) for item in value] if isinstance(value, list) else value


def check_fits(
    state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, more: Mapping[str, dict[str, Tensor]]
) -> None:
    """Raise ValueError where a state is not one of this model and this optimizer; nothing has changed then.

    `more` are further tensors by name that belong into it, in groups.
    """
    kinds: dict[str, Any] = {"model": dict, "optimizer": (dict, type(None)), "step": int, "sums": dict, "rows": list}
    for name, kind in kinds.items():
        if name not in state or not isinstance(state[name], kind):
            raise ValueError(f"it holds no {name} of a training")
    _check_tensors("model", state["model"], model.state_dict())
    for name, own in more.items():
        if not isinstance(state.get(name), dict):
            raise ValueError(f"it holds no {name} of a training")
        _check_tensors(name, state[name], own)
    if state["optimizer"] is None:  # after the last step
        return
    try:
        fits = _optimizer_fits(state["optimizer"], optimizer)
    except (AttributeError, IndexError, KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError("its optimizer is that of another model")


def _optimizer_fits(found: dict[str, Any], optimizer: torch.optim.Optimizer) -> bool:
    if [group["params"] for group in found["param_groups"]] != [
        group["params"] for group in optimizer.state_dict()["param_groups"]
    ]:
        return False
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return all(
        not value.ndim or value.shape == parameters[number].shape
        for number, moments in found["state"].items()
        for value in moments.values()
        if isinstance(value, Tensor)
    )


def _check_tensors(what: str, found: dict[str, Any], own: dict[str, Tensor]) -> None:
    if different := sorted(found.keys() ^ own.keys()):
        raise ValueError(f"its {what} is another one: {different[0]}")
    for name, value in own.items():
        if not isinstance(found[name], Tensor) or found[name].shape != value.shape:
            raise ValueError(f"its {what} is another one: {name} is not of shape {tuple(value.shape)}")


def infinite(model: nn.Module, optimizer: torch.optim.Optimizer) -> str | None:
    """The name of a weight, or of a running mean of the optimizer, that holds what is no finite number; None where all do."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return name
        for moment, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                return f"{moment} of {name}"
    return None
