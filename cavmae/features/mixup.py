"""Mixup of waveforms, pictures and labels (Zhang et al. 2018), as CAV-MAE's fine-tuning uses it."""

import torch
from torch import Tensor

from cavmae.features.fbank import clear_behind, remove_mean


def mix_waveforms(samples: Tensor, partner: Tensor, lengths: Tensor, weight: Tensor) -> Tensor:
    """weight * samples + (1 - weight) * partner, cut at the first one's length, mean removed again: [B, S].

    `weight` [B] is 1 where a clip stays unmixed.
    """
    share = weight.unsqueeze(1)
    mixed = clear_behind(share * samples + (1 - share) * partner, lengths)
    return torch.where(share < 1, remove_mean(mixed, lengths), samples)


def mix_images(images: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Mix normalised pictures [B, 3, H, W] by `weight` [B]."""
    share = weight.view(-1, 1, 1, 1)
    return share * images + (1 - share) * partner


def smooth_and_mix(
    targets: Tensor, partner: Tensor, weight: Tensor, smoothing: float, official_smoothing: bool = False
) -> Tensor:
    """Mix label indicators [B, C] by `weight` [B] and smooth them: a label weighs up to 1 - eps, every class gets eps / C more.

    So rows of one-label data sum to 1. With `official_smoothing`, as in the original, a clip's own labels go without the
    eps / C where the clip is not mixed, and such a row sums to 1 - eps / C.
    """
    share = weight.unsqueeze(1)
    spread = smoothing / targets.shape[1]
    mixed = (share * targets + (1 - share) * partner) * (1 - smoothing) + spread
    if official_smoothing:
        return torch.where((share == 1) & (targets > 0), 1 - smoothing, mixed)
    return mixed
