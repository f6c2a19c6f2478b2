"""The pretraining pass for training: the losses of `CAVMAE.forward`, without the work that no loss looks at.

What is left out changes no result: only kept patches are embedded, tokens stay in shuffled order (attention takes no notice of
the order), the joint and the two single-modality passes go through a shared block together, the last decoder block and the
prediction work on removed patches alone, and so do the targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cavmae.models.batch_share import BatchShare
from cavmae.models.blocks import Modality, PatchEmbed, last, passes_through, through
from cavmae.models.cavmae import CAVMAE
from cavmae.models.linear import project
from cavmae.models.masking import len_keep, shuffle
from cavmae.models.patches import normalise_patches, patchify


class PretrainInputs(NamedTuple):
    """Log-mel [B, T, M], pictures [B, C, H, W], and the noise that decides the masks, [B, La] and [B, Lv]."""

    audio: Tensor
    imgs: Tensor
    noise_a: Tensor
    noise_v: Tensor


class PretrainSettings(NamedTuple):
    """Masks and weights, as `CAVMAE.forward` takes them."""

    mask_ratio_a: float = 0.75
    mask_ratio_v: float = 0.75
    mae_loss_weight: float = 1.0
    contrast_loss_weight: float = 0.01
    bidirect_contrast: bool = False
    replicas: int = 1


class ClipResults(NamedTuple):
    """Of each clip its mean squared errors [B] and its pooled tokens [B, D]; None where they were not asked for."""

    mae_a: Tensor | None
    mae_v: Tensor | None
    pooled_a: Tensor | None
    pooled_v: Tensor | None


class PretrainLosses(NamedTuple):
    """What `PretrainOutput` holds, without the masks."""

    loss: Tensor
    loss_mae: Tensor
    loss_mae_a: Tensor
    loss_mae_v: Tensor
    loss_c: Tensor
    c_acc: Tensor


class _Ordered(NamedTuple):
    """Patches [B, L, N] in shuffled order, the tokens [B, L] that they are, and how many are kept."""

    patches: Tensor
    ids: Tensor
    keep: int


def pretraining_losses(
    model: CAVMAE, inputs: PretrainInputs, settings: PretrainSettings, share: BatchShare | None = None
) -> PretrainLosses:
    """The losses of `CAVMAE.forward` for the same inputs, noise, settings and share; equal but for rounding."""
    share = share or BatchShare.alone(len(inputs.audio))
    results = clip_results(model, inputs, settings, settings.mae_loss_weight != 0, settings.contrast_loss_weight != 0)
    mae = mae_losses(results, settings, share)
    loss_c = c_acc = inputs.audio.new_zeros(())
    if results.pooled_a is not None and results.pooled_v is not None:
        loss_c, c_acc = contrast_loss(model, share.gather(results.pooled_a), share.gather(results.pooled_v), settings)
    return total(mae, loss_c, c_acc, settings)


def total(mae: tuple[Tensor, Tensor], loss_c: Tensor, c_acc: Tensor, settings: PretrainSettings) -> PretrainLosses:
    """Put the losses together (equation 6) from those of `mae_losses` and `contrast_loss`."""
    loss_mae = settings.mae_loss_weight * (mae[0] + mae[1])
    return PretrainLosses(loss_mae + loss_c, loss_mae, *mae, loss_c, c_acc)


def mae_losses(results: ClipResults, settings: PretrainSettings, share: BatchShare, start: int = 0) -> tuple[Tensor, Tensor]:
    """Reconstruction losses of audio and pictures, unweighted; 0 where there is none.

    The results may be those of a part of this process's clips that begins with its clip `start`: the losses of the parts sum up.
    """
    if results.mae_a is None or results.mae_v is None:
        zero = torch.zeros(()) if results.pooled_a is None else results.pooled_a.new_zeros(())
        return zero, zero
    # each clip counts 1 / n in the mean over the n clips of its replica
    weights = [part / own for own, part in share.parts(settings.replicas) for _ in range(own)]
    weight = torch.tensor(weights[start : start + len(results.mae_a)], dtype=results.mae_a.dtype)
    weight = weight.to(results.mae_a.device, non_blocking=True)
    return (results.mae_a * weight).sum(), (results.mae_v * weight).sum()


def contrast_loss(model: CAVMAE, pooled_a: Tensor, pooled_v: Tensor, settings: PretrainSettings) -> tuple[Tensor, Tensor]:
    """Weighted contrast and accuracy over pooled tokens [B, D] of the whole batch, in their own precision."""
    with torch.autocast(pooled_a.device.type, enabled=False):
        pairs = zip(pooled_a.chunk(settings.replicas), pooled_v.chunk(settings.replicas), strict=True)
        found = [model.forward_contrastive(a, v, settings.bidirect_contrast) for a, v in pairs]
        loss = settings.contrast_loss_weight * torch.stack([nce for nce, _ in found]).sum()
        return loss, torch.stack([hits for _, hits in found]).mean()


def clip_results(
    model: CAVMAE, inputs: PretrainInputs, settings: PretrainSettings, reconstruct: bool, contrast: bool
) -> ClipResults:
    """Run the model over the clips: reconstruct, embed for the contrast, or both."""
    audio = inputs.audio.unsqueeze(1).transpose(2, 3)  # [B, 1, M, T]
    a = _ordered(patchify(audio, model.audio_patch_size), inputs.noise_a, settings.mask_ratio_a, model.official_ties)
    v = _ordered(patchify(inputs.imgs, model.patch_size), inputs.noise_v, settings.mask_ratio_v, model.official_ties)
    tokens_a = model.stream_a(_embed(model.patch_embed_a, a, model.pos_embed_a) + model.modality_a)  # [B, Ka, D]
    tokens_v = model.stream_v(_embed(model.patch_embed_v, v, model.pos_embed_v) + model.modality_v)  # [B, Kv, D]
    latent, pooled_a, pooled_v = _shared(model, tokens_a, tokens_v, reconstruct, contrast)
    mae_a = mae_v = None
    if latent is not None:
        mae_a, mae_v = _reconstruct(model, latent, a, v)
    return ClipResults(mae_a, mae_v, pooled_a, pooled_v)


def _ordered(patches: Tensor, noise: Tensor, mask_ratio: float, official_ties: bool) -> _Ordered:
    ids = shuffle(noise, official_ties)
    in_order = torch.gather(patches, 1, ids.unsqueeze(-1).expand(-1, -1, patches.shape[2]))
    return _Ordered(in_order, ids, len_keep(ids.shape[1], mask_ratio))


def _embed(stem: PatchEmbed, x: _Ordered, positions: Tensor) -> Tensor:
    """Project the kept patches and add their positions: [B, K, D]."""
    weight = stem.proj.weight.permute(0, 2, 3, 1).flatten(1)  # [D, p*p*C], in the order of `patchify`
    assert stem.proj.bias is not None
    return project(x.patches[:, : x.keep], weight, stem.proj.bias) + positions[0][x.ids[:, : x.keep]]


def _shared(
    model: CAVMAE, a: Tensor, v: Tensor, reconstruct: bool, contrast: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The passes through the shared blocks: joint latent [B, Ka+Kv, D] and pooled tokens [B, D] of either modality."""
    joint: list[Tensor] = [torch.cat([a, v], dim=1)] if reconstruct else []
    single = [a, v] if contrast else []
    names: list[Modality | None] = [*([None] * len(joint)), *(("a", "v") if contrast else ())]
    for number, block in enumerate(model.blocks_u):
        # unless they are chained, only the last block takes the single-modality passes
        takes_part = model.chain_contrast or number == len(model.blocks_u) - 1
        tokens = joint + (single if takes_part else [])
        if tokens:
            tokens = passes_through(block, tokens, names[: len(tokens)])
            joint, single = tokens[: len(joint)], tokens[len(joint) :] or single
    latent = model.final_norm(joint[0], None) if joint else None
    if not single:
        return latent, None, None
    return latent, model.final_norm(single[0], "a").mean(dim=1), model.final_norm(single[1], "v").mean(dim=1)


def _reconstruct(model: CAVMAE, latent: Tensor, a: _Ordered, v: _Ordered) -> tuple[Tensor, Tensor]:
    """Mean squared error [B] over each clip's removed patches, of audio and of pictures."""
    x = project(latent, model.decoder_embed.weight, model.decoder_embed.bias)  # [B, Ka+Kv, Dd]
    place_a = model.decoder_pos_embed_a[0][a.ids] + model.decoder_modality_a  # [B, La, Dd]
    place_v = model.decoder_pos_embed_v[0][v.ids] + model.decoder_modality_v
    removed_a, removed_v = place_a[:, a.keep :] + model.mask_token, place_v[:, v.keep :] + model.mask_token
    x = torch.cat([x[:, : a.keep] + place_a[:, : a.keep], x[:, a.keep :] + place_v[:, : v.keep], removed_a, removed_v], dim=1)
    queries = removed_a.shape[1] + removed_v.shape[1]
    for number, block in enumerate(model.decoder_blocks, start=1):
        x = through(block, x, None, queries if number == len(model.decoder_blocks) else None)
    x = model.decoder_norm(last(x, queries))  # [B, Ma+Mv, Dd]
    pred_a = project(x[:, : removed_a.shape[1]], model.decoder_pred_a.weight, model.decoder_pred_a.bias)
    pred_v = project(x[:, removed_a.shape[1] :], model.decoder_pred_v.weight, model.decoder_pred_v.bias)
    return _error(model, pred_a, a), _error(model, pred_v, v)


def _error(model: CAVMAE, pred: Tensor, x: _Ordered) -> Tensor:
    target = x.patches[:, x.keep :]
    if model.norm_pix_loss:
        target = normalise_patches(target)
    return ((pred - target) ** 2).mean(dim=(1, 2))
