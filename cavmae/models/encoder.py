"""What pretraining and fine-tuning share: two stems, two modality-specific streams, one shared stream."""

from typing import Literal

import torch
from torch import Tensor, nn

from cavmae.models.blocks import Block, Modality, PatchEmbed, through
from cavmae.models.pos_embed import sincos_2d

Modalities = Literal["av", "a"]
VISUAL_PARTS = ("patch_embed_v", "modality_v", "pos_embed_v", "blocks_v", "norm_v")


class AudioVisualEncoder(nn.Module):
    """Stems, position tables, modality tokens and blocks of CAV-MAE, under their official parameter names.

    Audio enters as log-mel [B, audio_length, num_mel_bins] and becomes a grid of num_mel_bins/p rows (frequency) by
    audio_length/p columns (time), read row by row; pictures enter as [B, in_chans, img_size, img_size]. With modalities "a"
    the visual parts are not there, as in the original's audio-only classifier.
    """

    def __init__(
        self,
        *,
        img_size: int,
        audio_length: int,
        patch_size: int,
        in_chans: int,
        embed_dim: int,
        modality_specific_depth: int,
        num_heads: int,
        mlp_ratio: float,
        tr_pos: bool,
        depth: int,
        num_mel_bins: int,
        audio_patch_size: int | None,
        modalities: Modalities = "av",
    ) -> None:
        super().__init__()
        self.modalities: Modalities = modalities
        self.patch_size = patch_size
        self.audio_patch_size = audio_patch_size or patch_size
        self.in_chans = in_chans
        shared_depth = depth - modality_specific_depth
        if modality_specific_depth < 0 or shared_depth < 1:
            raise ValueError(
                f"modality_specific_depth {modality_specific_depth} of depth {depth} leaves no shared block; at most {depth - 1}"
            )
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not divisible by num_heads {num_heads}")
        for name, size, patch in (
            ("img_size", img_size, patch_size),
            ("audio_length", audio_length, self.audio_patch_size),
            ("num_mel_bins", num_mel_bins, self.audio_patch_size),
        ):
            if size % patch:
                raise ValueError(f"{name} {size} is not divisible by the patch size {patch}")
        self.grid_a = (num_mel_bins // self.audio_patch_size, audio_length // self.audio_patch_size)
        self.grid_v = (img_size // patch_size, img_size // patch_size)
        self.num_patches_a = self.grid_a[0] * self.grid_a[1]
        self.num_patches_v = self.grid_v[0] * self.grid_v[1]

        self.patch_embed_a = PatchEmbed(self.audio_patch_size, 1, embed_dim)
        self.patch_embed_v = PatchEmbed(patch_size, in_chans, embed_dim)
        self.modality_a = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.modality_v = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed_a = nn.Parameter(sincos_2d(embed_dim, *self.grid_a), requires_grad=tr_pos)
        self.pos_embed_v = nn.Parameter(sincos_2d(embed_dim, *self.grid_v), requires_grad=tr_pos)

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList([Block(embed_dim, num_heads, mlp_ratio) for _ in range(count)])

        self.blocks_a = blocks(modality_specific_depth)
        self.blocks_v = blocks(modality_specific_depth)
        self.blocks_u = blocks(shared_depth)
        self.norm_a, self.norm_v, self.norm = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)
        if modalities == "a":
            for name in VISUAL_PARTS:
                delattr(self, name)

    def initialize_weights(self) -> None:
        """Draw first weights: Xavier uniform for linear layers and patch projections, normal(0.02) for tokens."""
        for stem in self.children():
            if isinstance(stem, PatchEmbed):
                nn.init.xavier_uniform_(stem.proj.weight.data.flatten(1))
        for name, parameter in self.named_parameters():
            if "modality_" in name or name == "mask_token":
                nn.init.normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def embed_a(self, audio: Tensor) -> Tensor:
        """Log-mel [B, T, M] -> tokens [B, La, D], with position and modality added."""
        tokens: Tensor = self.patch_embed_a(audio.unsqueeze(1).transpose(2, 3))  # conv over [B, 1, M, T]
        return tokens + self.pos_embed_a + self.modality_a

    def embed_v(self, imgs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] -> tokens [B, Lv, D], with position and modality added."""
        tokens: Tensor = self.patch_embed_v(imgs)
        return tokens + self.pos_embed_v + self.modality_v

    def stream_a(self, tokens: Tensor) -> Tensor:
        """Audio-specific blocks: [B, L, D] -> [B, L, D]."""
        return _chain(self.blocks_a, tokens)

    def stream_v(self, tokens: Tensor) -> Tensor:
        """Visual-specific blocks: [B, L, D] -> [B, L, D]."""
        return _chain(self.blocks_v, tokens)

    def shared(self, tokens: Tensor, modality: Modality | None = None) -> Tensor:
        """Shared blocks and final norm, in the unified (None), audio or visual pass: [B, L, D] -> [B, L, D]."""
        for block in self.blocks_u:
            tokens = through(block, tokens, modality)
        return self.final_norm(tokens, modality)

    def final_norm(self, tokens: Tensor, modality: Modality | None) -> Tensor:
        """The norm that closes a pass: [B, L, D] -> [B, L, D]."""
        norm = self.norm if modality is None else self.norm_a if modality == "a" else self.norm_v
        out: Tensor = norm(tokens)
        return out

    def check_strict(self, state: dict[str, Tensor]) -> None:
        """Raise ValueError naming what of a state dict is missing, unexpected or of another shape."""
        own = self.state_dict()
        problems = [f"missing {key}" for key in own if key not in state]
        problems += [f"unexpected {key}" for key in state if key not in own]
        problems += [
            f"{key} has shape {tuple(state[key].shape)}, the model wants {tuple(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ]
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ValueError("; ".join(problems[:5]) + more)

    def load_strict(self, state: dict[str, Tensor]) -> None:
        """Load a state dict; raises ValueError naming what is missing, unexpected or of another shape."""
        self.check_strict(state)
        self.load_state_dict(state)


def _chain(blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
    for block in blocks:
        tokens = through(block, tokens)
    return tokens
