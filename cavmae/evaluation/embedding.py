"""Features of clips: what the encoder makes of unmasked sound, of unmasked pictures, and of both together."""

from collections.abc import Collection, Sequence
from typing import Literal

import torch
from torch import Tensor

from cavmae.models.encoder import AudioVisualEncoder

Modality = Literal["audio", "video", "joint"]
MODALITIES: tuple[Modality, ...] = ("audio", "video", "joint")
_PICTURES_AT_ONCE = 48  # of all clips of a batch together


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
    Pooled is the mean over tokens, then over the F pictures of a clip; sound is streamed once for all of them. What no wanted
    modality sees may be None. Raises ValueError for tokens of several pictures.
    """
    count = 1 if pictures is None else pictures.shape[1]
    if count > 1 and not pooled:
        raise ValueError(f"tokens are those of one picture, not of {count}")
    found: dict[Modality, Tensor] = {}
    a = model.stream_a(model.embed_a(audio)) if audio is not None else None  # [B, La, D]
    if a is not None and "audio" in wanted:
        tokens = _close(model.shared(a, "a"), 1, pooled)
        found["audio"] = tokens.squeeze(1) if pooled else tokens
    of_pictures: dict[Modality, list[Tensor]] = {"video": [], "joint": []}
    for part in parts_of(pictures) if pictures is not None else ():
        v = model.stream_v(model.embed_v(part.flatten(0, 1)))  # [B*f, Lv, D]
        if "video" in wanted:
            of_pictures["video"].append(_close(model.shared(v, "v"), part.shape[1], pooled))
        if a is not None and "joint" in wanted:
            both = torch.cat([a.repeat_interleave(part.shape[1], dim=0), v], dim=1)  # [B*f, La+Lv, D]
            of_pictures["joint"].append(_close(model.shared(both), part.shape[1], pooled))
    for modality, parts in of_pictures.items():
        if parts:
            found[modality] = torch.cat(parts, dim=1).mean(dim=1) if pooled else parts[0]
    return found


def parts_of(pictures: Tensor) -> Sequence[Tensor]:
    """Pictures [B, F, ...] in parts [B, f, ...] that are few enough to be run at once, whatever the number of frames."""
    size = max(1, _PICTURES_AT_ONCE // max(len(pictures), 1))
    return [pictures[:, at : at + size] for at in range(0, pictures.shape[1], size)]


def _close(tokens: Tensor, count: int, pooled: bool) -> Tensor:
    """Tokens [B*f, L, D] as they are, or their mean over L by clip and picture, [B, f, D] for `count` = f pictures a clip."""
    return tokens.float().mean(dim=1).view(-1, count, tokens.shape[-1]) if pooled else tokens
