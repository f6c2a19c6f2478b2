"""Optimizer and learning-rate schedule."""

import math

import torch
from torch import nn

from cavmae.training.params import TrainingParams

HEAD = "mlp_head"


def build_optimizer(model: nn.Module, params: TrainingParams, head_lr: float = 1.0) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only, or the original's Adam with its decay on everything.

    Parameters of the classification head learn `head_lr` times as fast.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = params.optimizer == "adam" or (parameter.ndim > 1 and "pos_embed" not in name)
            groups.setdefault((name.startswith(HEAD), decayed), []).append(parameter)
    settings = [
        {
            "params": members,
            "weight_decay": params.weight_decay if decayed else 0.0,
            "lr": params.lr,
            "lr_factor": head_lr if is_head else 1.0,
        }
        for (is_head, decayed), members in sorted(groups.items(), key=lambda item: item[0])
    ]
    kind = torch.optim.AdamW if params.optimizer == "adamw" else torch.optim.Adam
    return kind(settings, lr=params.lr, betas=(params.beta1, params.beta2), fused=True)


def learning_rate(params: TrainingParams, step: int, steps_per_epoch: int) -> float:
    """Learning rate of step `step` (from 0): linear warm-up, then cosine to 0 (Loshchilov & Hutter 2017), steps, or constant.

    In steps, `decay_start_epoch` epochs run at the full rate, as in the original, whose schedule counts finished epochs.
    """
    warmup = params.warmup_epochs * steps_per_epoch
    if step < warmup:
        return params.lr * (step + 1) / warmup
    if params.schedule == "cosine":
        total = params.epochs * steps_per_epoch
        return params.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
    if params.schedule == "step":
        finished = step // steps_per_epoch
        decays = max(0, (finished - params.decay_start_epoch) // params.decay_every_epochs + 1)
        return params.lr * params.decay_factor**decays
    return params.lr


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set every group's rate, each by its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]
