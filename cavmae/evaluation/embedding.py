"""Features of clips: what the encoder makes of unmasked sound, of unmasked pictures, and of both together."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.encoder import AudioVisualEncoder

Modality = Literal["audio", "video", "joint"]
MODALITIES: tuple[Modality, ...] = ("audio", "video", "joint")


def check_features(model: AudioVisualEncoder, folder: Path, wanted: Collection[Modality], remedy: str) -> None:
    """Raise InputError, which says the `remedy`, where a model has no parts for a modality that is wanted of it."""
    missing = [modality for modality in MODALITIES if modality in wanted and modality != "audio"]
    if missing and getattr(model, "patch_embed_v", None) is None:
        raise InputError(f"{folder}: is a model of sound alone and has no {missing[0]} features; {remedy}")


def feature_shapes(model: AudioVisualEncoder, wanted: Collection[Modality], pooled: bool) -> dict[Modality, tuple[int, ...]]:
    """Return the shape of one clip's features by modality: (D,), or (L, D) with one row a token, audio tokens first in joint."""
    width = model.norm_a.normalized_shape[0]
    counts = {"audio": ("num_patches_a",), "video": ("num_patches_v",), "joint": ("num_patches_a", "num_patches_v")}
    return {
        modality: (width,) if pooled else (sum(getattr(model, count) for count in counts[modality]), width)
        for modality in MODALITIES
        if modality in wanted
    }


@torch.no_grad()
def encode(
    model: AudioVisualEncoder,
    audio: Tensor | None,
    pictures: Tensor | None,
    wanted: Collection[Modality],
    pooled: bool,
) -> dict[Modality, Tensor]:
    """Return features of log-mel [B, T, M] and pictures [B, F, 3, H, W] by modality: [B, D] pooled, else tokens [B, L, D].

    Audio and video are the single-modality passes of `forward_feat`, joint is the unified pass over the tokens of both.
    Pooled is the mean over tokens, then over the F pictures of a clip. What no wanted modality sees may be None. Raises
    ValueError for tokens of several pictures.
    """
    count = 1 if pictures is None else pictures.shape[1]
    if count > 1 and not pooled:
        raise ValueError(f"tokens are those of one picture, not of {count}")
    found: dict[Modality, Tensor] = {}
    a = model.stream_a(model.embed_a(audio)) if audio is not None else None  # [B, La, D]
    v = model.stream_v(model.embed_v(pictures.flatten(0, 1))) if pictures is not None else None  # [B*F, Lv, D]
    if a is not None and "audio" in wanted:
        found["audio"] = _close(model.shared(a, "a"), 1, pooled)
    if v is not None and "video" in wanted:
        found["video"] = _close(model.shared(v, "v"), count, pooled)
    if a is not None and v is not None and "joint" in wanted:
        both = torch.cat([a.repeat_interleave(count, dim=0), v], dim=1)  # [B*F, La+Lv, D]
        found["joint"] = _close(model.shared(both), count, pooled)
    return found


def _close(tokens: Tensor, count: int, pooled: bool) -> Tensor:
    """Tokens [B*F, L, D] as they are, or their mean over L and over the `count` = F pictures of a clip, [B, D]."""
    return tokens.mean(dim=1).view(-1, count, tokens.shape[-1]).mean(dim=1) if pooled else tokens
