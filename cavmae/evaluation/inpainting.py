"""Inpainting: patches of sound and picture are hidden, and what the pretrained model makes of the rest is pasted in.

As in He et al. (2022, figure 2) and Gong et al. (2023, appendix), a reconstruction shows the patches that the model saw as
they were, and its predictions in the places of the others.
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cavmae.features.augment import clip_rng
from cavmae.models.cavmae import CAVMAE
from cavmae.models.masking import MaskMode, strike
from cavmae.models.patches import patchify, unpatchify

_EPSILON = 1.0e-6  # of the variance in the loss over normalised patches


@dataclass(frozen=True)
class Masking:
    """What is hidden: shares of the patches of sound and picture, 0 to 1 and not alike, and the pattern in the sound."""

    mode: MaskMode
    ratio_a: float
    ratio_v: float
    seed: int

    def noise(self, model: CAVMAE, clip: str) -> tuple[Tensor, Tensor]:
        """Noise [1, La] and [1, Lv] that decides which patches of the clip called `clip` are hidden: the largest.

        It depends on seed and name alone, not on what other clips there are.
        """
        rng = clip_rng(self.seed, 0, clip)
        noise_a = torch.from_numpy(rng.random((1, model.num_patches_a), dtype=np.float32))
        noise_v = torch.from_numpy(rng.random((1, model.num_patches_v), dtype=np.float32))
        struck = random.Random(int(rng.integers(2**62)))
        return strike(noise_a, self.mode, self.ratio_a, *model.grid_a, rng=struck), noise_v


@dataclass(frozen=True)
class Inpainted:
    """One clip before and after, as the model takes it: log-mel [T, M] and picture [3, H, W], both normalised.

    `hidden_a` [T, M] and `hidden_v` [3, H, W] are true where the model saw nothing. A loss is None where nothing was hidden.
    """

    audio: Tensor
    audio_restored: Tensor
    hidden_a: Tensor
    image: Tensor
    image_restored: Tensor
    hidden_v: Tensor
    loss_a: float | None
    loss_v: float | None


@torch.no_grad()
def inpaint_clip(model: CAVMAE, audio: Tensor, image: Tensor, masking: Masking, noise_a: Tensor, noise_v: Tensor) -> Inpainted:
    """Hide and restore patches of one clip: log-mel [1, T, M] and picture [1, 3, H, W], normalised, on the model's device.

    What comes back lies on the CPU. Predictions of a model that was trained on normalised patches get each hidden patch's
    own mean and standard deviation back (`denormalise_patches`). Raises ValueError for predictions that are not finite.
    """
    pred_a, pred_v, mask_a, mask_v, loss_a, loss_v = model.forward_inpaint(
        audio, image, masking.ratio_a, masking.ratio_v, masking.mode, noise_a=noise_a, noise_v=noise_v
    )
    if not bool(pred_a.isfinite().all() and pred_v.isfinite().all()):
        raise ValueError("the model's predictions are not finite")
    sound = audio.unsqueeze(1).transpose(2, 3)  # [1, 1, M, T]
    if model.norm_pix_loss:
        pred_a = denormalise_patches(pred_a, patchify(sound, model.audio_patch_size))
        pred_v = denormalise_patches(pred_v, patchify(image, model.patch_size))
    restored_a, hidden_a = _paste(sound, pred_a, mask_a, model.grid_a)
    restored_v, hidden_v = _paste(image, pred_v, mask_v, model.grid_v)
    return Inpainted(
        audio=audio[0].cpu(),
        audio_restored=restored_a[0, 0].t().contiguous().cpu(),
        hidden_a=hidden_a[0, 0].t().contiguous().cpu(),
        image=image[0].cpu(),
        image_restored=restored_v[0].cpu(),
        hidden_v=hidden_v[0].cpu(),
        loss_a=float(loss_a) if bool(mask_a.any()) else None,
        loss_v=float(loss_v) if bool(mask_v.any()) else None,
    )


def denormalise_patches(pred: Tensor, target: Tensor) -> Tensor:
    """Give predictions [B, L, N] of normalised patches the mean and (unbiased) standard deviation of their targets [B, L, N].

    The inverse of what `norm_pix_loss` does to targets. It takes from each hidden patch two numbers that no model predicted,
    so it is for looking at alone.
    """
    mean = target.mean(dim=-1, keepdim=True)
    variance = target.var(dim=-1, keepdim=True)
    return pred * (variance + _EPSILON) ** 0.5 + mean


def _paste(original: Tensor, pred: Tensor, mask: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Put predictions [B, L, p*p*C] into the places of [B, C, H, W] that `mask` [B, L] marks; also return those places."""
    channels = original.shape[1]
    hidden = unpatchify(mask.unsqueeze(-1).expand_as(pred), channels, *grid) > 0.5  # [B, C, H, W]
    return torch.where(hidden, unpatchify(pred, channels, *grid), original), hidden
