"""Random masking: which tokens the encoder sees (He et al. 2022, section 3; structured modes, Gong et al. 2023, 4.4)."""

import random
from typing import Literal, NamedTuple

import torch
from torch import Tensor

MaskMode = Literal["unstructured", "time", "freq", "tf"]
MASK_MODES: tuple[MaskMode, ...] = ("unstructured", "time", "freq", "tf")
# In `tf` mode both axes are struck, each with this share of the ratio, so that their union comes near the ratio.
TF_SHARE = 0.7


class Mask(NamedTuple):
    """Which of L tokens are kept: `ids_keep` [B, K], `ids_restore` [B, L], `mask` [B, L] with 0 kept and 1 removed."""

    ids_keep: Tensor
    ids_restore: Tensor
    mask: Tensor


def len_keep(length: int, mask_ratio: float) -> int:
    """Number of tokens kept, in the float arithmetic of the original: 196 tokens at ratio 0.9 give 19."""
    return int(length * (1 - mask_ratio))


def shuffle(noise: Tensor, official_ties: bool = False) -> Tensor:
    """The tokens [B, L] of each clip by rising noise [B, L], those that are kept first; ties as `mask_from_noise` has them."""
    return torch.argsort(noise, dim=1, stable=not official_ties)


def mask_from_noise(noise: Tensor, mask_ratio: float, official_ties: bool = False) -> Mask:
    """Keep the tokens with the smallest noise. `noise` is [B, L]; ties fall to the earlier token.

    With `official_ties` they fall as torch's unstable sort lets them, which on one machine is what the original gets.
    """
    keep = len_keep(noise.shape[1], mask_ratio)
    ids_shuffle = shuffle(noise, official_ties)
    ids_restore = torch.argsort(ids_shuffle, dim=1)
    mask = torch.ones_like(noise)
    mask[:, :keep] = 0
    return Mask(ids_shuffle[:, :keep], ids_restore, torch.gather(mask, 1, ids_restore))


def keep_tokens(x: Tensor, mask: Mask) -> Tensor:
    """[B, L, D] -> [B, K, D]: the kept tokens in shuffled order."""
    return torch.gather(x, 1, mask.ids_keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def strike(
    noise: Tensor, mode: MaskMode, mask_ratio: float, rows: int, columns: int, rng: random.Random, official_ties: bool = False
) -> Tensor:
    """Return `noise` [B, rows * columns] with whole time columns and/or frequency rows raised above 1, to be removed first.

    `tf` strikes more tokens than the ratio removes, so some struck tokens are kept. They are chosen at random here; with
    `official_ties` all struck tokens get 1.1, as in the original, and the sort's treatment of ties chooses. Raises
    ValueError for an unknown mode.
    """
    if mode not in MASK_MODES:
        raise ValueError(f"unknown mask mode {mode!r}; known: {', '.join(MASK_MODES)}")
    if mode == "unstructured":
        return noise
    share = TF_SHARE if mode == "tf" else 1.0
    grid = noise.reshape(-1, rows, columns)
    struck = torch.zeros_like(grid, dtype=torch.bool)
    if mode in ("time", "tf"):
        for sample in range(len(grid)):
            struck[sample, :, rng.sample(range(columns), int(columns * mask_ratio * share))] = True
    if mode in ("freq", "tf"):
        for sample in range(len(grid)):
            struck[sample, rng.sample(range(rows), int(rows * mask_ratio * share))] = True
    raised = torch.full_like(grid, 1.1) if official_ties else grid + 1.0
    return torch.where(struck, raised, grid).reshape(noise.shape)
