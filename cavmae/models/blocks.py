"""The transformer block of CAV-MAE: one attention and one MLP, three sets of norms (Gong et al. 2023, section 3.3)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cavmae.models.linear import linear, project

Modality = Literal["a", "v"]


class PatchEmbed(nn.Module):
    """Cut a picture or a spectrogram into patches and project each to the model's width."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, (H/p)(W/p), D], row by row."""
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return out


class Attention(nn.Module):
    """Multi-head self-attention with query, key and value in one projection (Vaswani et al. 2017)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"width {dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D], or [B, Q, D] where only the last `queries` tokens ask."""
        if queries is None:
            return linear(self.proj, self.mix(linear(self.qkv, x)))
        dim = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        query = project(last(x, queries), weight[:dim], bias[:dim])  # [B, Q, D]
        key, value = self._heads(project(x, weight[dim:], bias[dim:]), 2)
        (query,) = self._heads(query, 1)
        return linear(self.proj, _joined(F.scaled_dot_product_attention(query, key, value)))

    def mix(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values [B, L, 3D] to what the heads found, [B, L, D], before the last projection."""
        query, key, value = self._heads(qkv, 3)
        return _joined(F.scaled_dot_product_attention(query, key, value))

    def _heads(self, x: Tensor, count: int) -> tuple[Tensor, ...]:
        """[B, L, count * D] -> `count` times [B, heads, L, D/heads]."""
        batch, length, width = x.shape
        parts = x.view(batch, length, count, self.num_heads, width // count // self.num_heads)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Two linear layers around the exact (erf) GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return linear(self.fc2, F.gelu(linear(self.fc1, x)))


class Block(nn.Module):
    """Pre-norm block whose weights the modalities share and whose norms they do not.

    `forward(x)` uses the unified norms, `forward(x, "a")` the audio norms, `forward(x, "v")` the visual ones. Every block
    holds all three, used or not, because every published checkpoint does. LayerNorm eps is 1e-5. With `checkpointing`,
    `through` and `passes_through` keep only what goes into the block, and the backward pass works out the rest again.
    """

    checkpointing = False

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm1_a, self.norm1_v = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2, self.norm2_a, self.norm2_v = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, modality: Modality | None = None, queries: int | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]; with `queries`, only what becomes of the last tokens, [B, queries, D]."""
        norm1, norm2 = self._norms(modality)
        found = self.attn(norm1(x), queries)
        x = (x if queries is None else last(x, queries)) + found
        out: Tensor = x + self.mlp(norm2(x))
        return out

    def passes(self, tokens: list[Tensor], modalities: list[Modality | None]) -> list[Tensor]:
        """Several passes at once, each [B, L, D] under its own norms: what they share is multiplied in one go."""
        batch, _, dim = tokens[0].shape
        lengths = [part.shape[1] for part in tokens]
        norms = [self._norms(modality) for modality in modalities]
        rows = torch.cat([part.flatten(0, 1) for part in tokens])  # [B * (L1 + L2 + ...), D], pass after pass
        sizes = [batch * length for length in lengths]

        def normed(number: int) -> Tensor:
            return torch.cat([pair[number](part) for pair, part in zip(norms, torch.split(rows, sizes), strict=True)])

        qkv = torch.split(linear(self.attn.qkv, normed(0)), sizes)  # each [B * L, 3D]
        found = [self.attn.mix(part.view(batch, -1, 3 * dim)).flatten(0, 1) for part in qkv]
        rows = rows + linear(self.attn.proj, torch.cat(found))
        rows = rows + self.mlp(normed(1))
        return [part.view(batch, length, dim) for part, length in zip(torch.split(rows, sizes), lengths, strict=True)]

    def _norms(self, modality: Modality | None) -> tuple[nn.Module, nn.Module]:
        if modality is None:
            return self.norm1, self.norm2
        return (self.norm1_a, self.norm2_a) if modality == "a" else (self.norm1_v, self.norm2_v)


def last(x: Tensor, count: int) -> Tensor:
    """The last `count` tokens, which may be none: [B, L, D] -> [B, count, D]."""
    return x[:, x.shape[1] - count :]


def through(block: nn.Module, x: Tensor, modality: Modality | None = None, queries: int | None = None) -> Tensor:
    """`Block.forward`, with activation checkpointing where the block has it on."""
    out: Tensor = _run(block, block, x, modality, queries)
    return out


def passes_through(block: nn.Module, tokens: list[Tensor], modalities: list[Modality | None]) -> list[Tensor]:
    """`Block.passes`, with activation checkpointing where the block has it on."""
    out: list[Tensor] = _run(block, block.passes, tokens, modalities)
    return out


def _run(block: nn.Module, call: Any, *arguments: Any) -> Any:
    if not (block.checkpointing and torch.is_grad_enabled()):
        return call(*arguments)
    # nothing is drawn in a block
    return checkpoint(call, *arguments, use_reentrant=False, preserve_rng_state=False)


def _joined(heads: Tensor) -> Tensor:
    """[B, heads, L, D/heads] -> [B, L, D]."""
    return heads.transpose(1, 2).flatten(2)
