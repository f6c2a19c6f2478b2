"""Pictures to rows of patches and back, and the loss over removed patches (He et al. 2022)."""

import torch
from torch import Tensor


def patchify(x: Tensor, patch_size: int) -> Tensor:
    """[B, C, H, W] -> [B, (H/p)(W/p), p*p*C]; within a patch the order is row, column, channel."""
    batch, channels, height, width = x.shape
    h, w, p = height // patch_size, width // patch_size, patch_size
    x = x.reshape(batch, channels, h, p, w, p)
    return torch.einsum("nchpwq->nhwpqc", x).reshape(batch, h * w, p * p * channels)


def unpatchify(patches: Tensor, channels: int, rows: int, columns: int) -> Tensor:
    """[B, rows*columns, p*p*C] -> [B, C, rows*p, columns*p]: the inverse of `patchify`.

    Raises ValueError where the sizes do not fit.
    """
    batch, length, width = patches.shape
    p = round((width / channels) ** 0.5)
    if length != rows * columns or p * p * channels != width:
        raise ValueError(f"{length} patches of {width} values do not make {rows} x {columns} patches of {channels} channels")
    x = patches.reshape(batch, rows, columns, p, p, channels)
    return torch.einsum("nhwpqc->nchpwq", x).reshape(batch, channels, rows * p, columns * p)


def masked_patch_loss(pred: Tensor, target: Tensor, mask: Tensor, norm_pix_loss: bool) -> Tensor:
    """Mean squared error [] over the patches [B, L, N] that `mask` [B, L] marks with 1.

    With `norm_pix_loss` each target patch is normalised first.
    """
    if norm_pix_loss:
        target = normalise_patches(target)
    per_patch = ((pred - target) ** 2).mean(dim=-1)  # [B, L]
    return (per_patch * mask).sum() / mask.sum()


def normalise_patches(target: Tensor) -> Tensor:
    """Bring each patch [..., N] to zero mean and unit (unbiased) variance."""
    mean = target.mean(dim=-1, keepdim=True)
    variance = target.var(dim=-1, keepdim=True)
    return (target - mean) / (variance + 1.0e-6) ** 0.5
