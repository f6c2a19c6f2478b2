"""The transformer block of CAV-MAE: one attention and one MLP, three sets of norms (Gong et al. 2023, section 3.3)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

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

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        batch, length, dim = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, L, D/heads]
        x = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(batch, length, dim))
        return out


class Mlp(nn.Module):
    """Two linear layers around the exact (erf) GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm block whose weights the modalities share and whose norms they do not.

    `forward(x)` uses the unified norms, `forward(x, "a")` the audio norms, `forward(x, "v")` the visual ones. Every block
    holds all three, used or not, because every published checkpoint does. LayerNorm eps is 1e-5.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm1_a, self.norm1_v = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2, self.norm2_a, self.norm2_v = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, modality: Modality | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        if modality is None:
            norm1, norm2 = self.norm1, self.norm2
        elif modality == "a":
            norm1, norm2 = self.norm1_a, self.norm2_a
        else:
            norm1, norm2 = self.norm1_v, self.norm2_v
        x = x + self.attn(norm1(x))
        out: Tensor = x + self.mlp(norm2(x))
        return out
