"""CAV-MAE: the contrastive audio-visual masked autoencoder, for pretraining (Gong et al., ICLR 2023, section 3)."""

import random
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cavmae.models.batch_share import BatchShare
from cavmae.models.blocks import Block, Modality, through
from cavmae.models.encoder import AudioVisualEncoder
from cavmae.models.masking import MaskMode, keep_tokens, mask_from_noise, strike
from cavmae.models.patches import masked_patch_loss, patchify, unpatchify
from cavmae.models.pos_embed import sincos_2d

TEMPERATURE = 0.05


class Encoded(NamedTuple):
    """Output of the encoder over the kept tokens, in the original's order.

    Joint latent [B, Ka+Kv, D]; `mask_*` [B, L] with 1 where a token is removed; `ids_restore_*` [B, L], the place of each
    token among the shuffled ones, of which the first K are kept; audio [B, Ka, D] and visual [B, Kv, D] for the contrast.
    """

    latent: Tensor
    mask_a: Tensor
    ids_restore_a: Tensor
    mask_v: Tensor
    ids_restore_v: Tensor
    latent_c_a: Tensor
    latent_c_v: Tensor


class PretrainOutput(NamedTuple):
    """Losses of one batch; `loss_mae` and `loss_c` carry their weights, `loss_mae_a` and `loss_mae_v` do not."""

    loss: Tensor
    loss_mae: Tensor
    loss_mae_a: Tensor
    loss_mae_v: Tensor
    loss_c: Tensor
    mask_a: Tensor
    mask_v: Tensor
    c_acc: Tensor


class CAVMAE(AudioVisualEncoder):
    """The pretraining model; the defaults are the published base model (191 M parameters).

    `chain_contrast=False` gives the original's contrastive pass, which applies only the last shared block where there
    are several (with one, as published, both are equal). `official_ties=True` gives its `tf` masks, see `masking.strike`.
    `depth` counts specific and shared layers together.
    """

    def __init__(
        self,
        img_size: int = 224,
        audio_length: int = 1024,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        modality_specific_depth: int = 11,
        num_heads: int = 12,
        decoder_embed_dim: int = 512,
        decoder_depth: int = 8,
        decoder_num_heads: int = 16,
        mlp_ratio: float = 4.0,
        norm_pix_loss: bool = False,
        tr_pos: bool = False,
        *,
        depth: int = 12,
        num_mel_bins: int = 128,
        audio_patch_size: int | None = None,
        chain_contrast: bool = True,
        official_ties: bool = False,
    ) -> None:
        super().__init__(
            img_size=img_size,
            audio_length=audio_length,
            patch_size=patch_size,
            in_chans=in_chans,
            embed_dim=embed_dim,
            modality_specific_depth=modality_specific_depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            tr_pos=tr_pos,
            depth=depth,
            num_mel_bins=num_mel_bins,
            audio_patch_size=audio_patch_size,
        )
        if decoder_embed_dim % decoder_num_heads:
            raise ValueError(f"decoder_embed_dim {decoder_embed_dim} is not divisible by decoder_num_heads {decoder_num_heads}")
        self.norm_pix_loss = norm_pix_loss
        self.chain_contrast = chain_contrast
        self.official_ties = official_ties

        self.decoder_embed = nn.Linear(embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_modality_a = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_modality_v = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed_a = nn.Parameter(sincos_2d(decoder_embed_dim, *self.grid_a), requires_grad=tr_pos)
        self.decoder_pos_embed_v = nn.Parameter(sincos_2d(decoder_embed_dim, *self.grid_v), requires_grad=tr_pos)
        self.decoder_blocks = nn.ModuleList(
            [Block(decoder_embed_dim, decoder_num_heads, mlp_ratio) for _ in range(decoder_depth)]
        )
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim)
        self.decoder_pred_a = nn.Linear(decoder_embed_dim, self.audio_patch_size**2)
        self.decoder_pred_v = nn.Linear(decoder_embed_dim, patch_size**2 * in_chans)
        self.initialize_weights()

    def forward_encoder(
        self,
        audio: Tensor,
        imgs: Tensor,
        mask_ratio_a: float,
        mask_ratio_v: float,
        mask_mode: MaskMode = "unstructured",
        noise_a: Tensor | None = None,
        noise_v: Tensor | None = None,
    ) -> Encoded:
        """Encode the tokens that masking leaves, in the joint pass and in the two single-modality passes.

        `noise_a` [B, La] and `noise_v` [B, Lv] decide the masks (smallest kept); where not given they are drawn, audio
        first, and struck by `mask_mode`. Pictures are always masked unstructured.
        """
        a, v = self.embed_a(audio), self.embed_v(imgs)
        if noise_a is None:
            noise_a = torch.rand(a.shape[0], a.shape[1], device=a.device)
            # the global generator, so that seeding `random` reproduces the original's draws
            generator: Any = random
            noise_a = strike(noise_a, mask_mode, mask_ratio_a, *self.grid_a, rng=generator, official_ties=self.official_ties)
        if noise_v is None:
            noise_v = torch.rand(v.shape[0], v.shape[1], device=v.device)
        mask_a = mask_from_noise(noise_a, mask_ratio_a, self.official_ties)
        mask_v = mask_from_noise(noise_v, mask_ratio_v, self.official_ties)
        a = self.stream_a(keep_tokens(a, mask_a))  # [B, Ka, D]
        v = self.stream_v(keep_tokens(v, mask_v))  # [B, Kv, D]
        latent = self.shared(torch.cat([a, v], dim=1))  # [B, Ka+Kv, D]
        contrast_a, contrast_v = self._contrast_pass(a, "a"), self._contrast_pass(v, "v")
        return Encoded(latent, mask_a.mask, mask_a.ids_restore, mask_v.mask, mask_v.ids_restore, contrast_a, contrast_v)

    def _contrast_pass(self, tokens: Tensor, modality: Modality) -> Tensor:
        if self.chain_contrast:
            return self.shared(tokens, modality)
        return self.final_norm(through(self.blocks_u[-1], tokens, modality), modality)

    def forward_decoder(
        self,
        x: Tensor,
        mask_a: Tensor,
        ids_restore_a: Tensor,
        mask_v: Tensor,
        ids_restore_v: Tensor,
        kept_a: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict every patch from the latent [B, Ka+Kv, D]: audio [B, La, p*p] and picture [B, Lv, p*p*C].

        Masks and places are those that `forward_encoder` returns. `kept_a`, Ka, spares asking the device for it.
        """
        x = self.decoder_embed(x)
        if kept_a is None:
            kept_a = mask_a.shape[1] - int(mask_a[0].sum())  # every clip keeps as many
        a = self._with_mask_tokens(x[:, :kept_a], ids_restore_a) + self.decoder_pos_embed_a + self.decoder_modality_a
        v = self._with_mask_tokens(x[:, kept_a:], ids_restore_v) + self.decoder_pos_embed_v + self.decoder_modality_v
        x = torch.cat([a, v], dim=1)  # [B, La+Lv, Dd]
        for block in self.decoder_blocks:
            x = through(block, x)
        x = self.decoder_norm(x)
        return self.decoder_pred_a(x[:, : self.num_patches_a]), self.decoder_pred_v(x[:, self.num_patches_a :])

    def _with_mask_tokens(self, kept: Tensor, ids_restore: Tensor) -> Tensor:
        batch, length = ids_restore.shape
        missing = self.mask_token.to(kept.dtype).expand(batch, length - kept.shape[1], -1)
        shuffled = torch.cat([kept, missing], dim=1)  # [B, L, Dd], kept tokens first
        return torch.gather(shuffled, 1, ids_restore.unsqueeze(-1).expand(-1, -1, shuffled.shape[2]))

    def forward_contrastive(self, audio_rep: Tensor, video_rep: Tensor, bidirect_contrast: bool = False) -> tuple[Tensor, Tensor]:
        """Return InfoNCE loss and top-1 accuracy over the batch (equation 4) from pooled tokens [B, D] of each modality.

        One direction as published: for each video the softmax runs over the audios. With `bidirect_contrast`, the mean
        of both directions.
        """
        audio_rep, video_rep = F.normalize(audio_rep, dim=-1), F.normalize(video_rep, dim=-1)
        logits = video_rep @ audio_rep.t() / TEMPERATURE  # [video, audio]
        target = torch.arange(len(logits), device=logits.device)
        directions = [logits, logits.t()] if bidirect_contrast else [logits]
        losses = torch.stack([F.cross_entropy(rows, target) for rows in directions])
        hits = torch.stack([(rows.argmax(1) == target).float().mean() for rows in directions])
        return losses.mean(), hits.mean()

    def forward_mae_loss(self, audio_or_imgs: Tensor, pred: Tensor, mask: Tensor, modality: Modality) -> Tensor:
        """Mean squared error over the removed patches of one modality; `mask` [B, L] has 1 where removed."""
        if modality == "a":
            target = patchify(audio_or_imgs.unsqueeze(1).transpose(2, 3), self.audio_patch_size)
        else:
            target = patchify(audio_or_imgs, self.patch_size)
        return masked_patch_loss(pred, target, mask, self.norm_pix_loss)

    def forward(
        self,
        audio: Tensor,
        imgs: Tensor,
        mask_ratio_a: float = 0.75,
        mask_ratio_v: float = 0.75,
        mae_loss_weight: float = 1.0,
        contrast_loss_weight: float = 0.01,
        mask_mode: MaskMode = "unstructured",
        *,
        bidirect_contrast: bool = False,
        replicas: int = 1,
        noise_a: Tensor | None = None,
        noise_v: Tensor | None = None,
        share: BatchShare | None = None,
    ) -> PretrainOutput:
        """Weighted sum of reconstruction and contrastive loss of audio [B, T, M] and pictures [B, C, H, W] (equation 6).

        A weight of 0 skips its branch. `replicas` is the number of GPUs over which the original's DataParallel cuts the
        batch: the contrast then stays within each part, every loss is the sum over the parts, and `c_acc` their mean.

        With `share` the clips are those that this process holds of a batch: its MAE losses sum up over the processes to those
        of the batch, and its contrast is that of the whole batch. Gradients of `loss`, summed over the processes, are those
        of the batch.
        """
        share = share or BatchShare.alone(len(audio))
        encoded = self.forward_encoder(audio, imgs, mask_ratio_a, mask_ratio_v, mask_mode, noise_a, noise_v)
        zero = audio.new_zeros(())
        loss_mae_a = loss_mae_v = loss_mae = loss_c = c_acc = zero
        if mae_loss_weight != 0:
            pred_a, pred_v = self.forward_decoder(*encoded[:5], kept_a=encoded.latent_c_a.shape[1])
            cut = share.parts(replicas)
            parts_a = zip(*_parts(cut, audio, pred_a, encoded.mask_a), cut, strict=True)
            parts_v = zip(*_parts(cut, imgs, pred_v, encoded.mask_v), cut, strict=True)
            loss_mae_a = torch.stack([own * self.forward_mae_loss(x, p, m, "a") for x, p, m, (_, own) in parts_a]).sum()
            loss_mae_v = torch.stack([own * self.forward_mae_loss(x, p, m, "v") for x, p, m, (_, own) in parts_v]).sum()
            loss_mae = mae_loss_weight * (loss_mae_a + loss_mae_v)
        if contrast_loss_weight != 0:
            pooled_a, pooled_v = (share.gather(tokens.mean(dim=1)) for tokens in (encoded.latent_c_a, encoded.latent_c_v))
            pairs = zip(pooled_a.chunk(replicas), pooled_v.chunk(replicas), strict=True)
            contrasts = [self.forward_contrastive(a, v, bidirect_contrast) for a, v in pairs]
            loss_c = contrast_loss_weight * torch.stack([nce for nce, _ in contrasts]).sum()
            c_acc = torch.stack([hits for _, hits in contrasts]).mean()
        return PretrainOutput(loss_mae + loss_c, loss_mae, loss_mae_a, loss_mae_v, loss_c, encoded.mask_a, encoded.mask_v, c_acc)

    def forward_inpaint(
        self,
        audio: Tensor,
        imgs: Tensor,
        mask_ratio_a: float = 0.75,
        mask_ratio_v: float = 0.75,
        mask_mode: MaskMode = "unstructured",
        *,
        noise_a: Tensor | None = None,
        noise_v: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return predictions [B, La, p*p] and [B, Lv, p*p*C], masks [B, La] and [B, Lv], and the two losses."""
        encoded = self.forward_encoder(audio, imgs, mask_ratio_a, mask_ratio_v, mask_mode, noise_a, noise_v)
        pred_a, pred_v = self.forward_decoder(*encoded[:5], kept_a=encoded.latent_c_a.shape[1])
        mask_a, mask_v = encoded.mask_a, encoded.mask_v
        loss_a = self.forward_mae_loss(audio, pred_a, mask_a, "a")
        loss_v = self.forward_mae_loss(imgs, pred_v, mask_v, "v")
        return pred_a, pred_v, mask_a, mask_v, loss_a, loss_v

    def patchify(self, imgs: Tensor, c: int, h: int, w: int, p: int = 16) -> Tensor:
        """`patches.patchify` under the original's name and arguments: [B, c, h*p, w*p] -> [B, h*w, p*p*c].

        Raises ValueError where the picture is not of that size.
        """
        if imgs.shape[1:] != (c, h * p, w * p):
            raise ValueError(
                f"a picture of shape {tuple(imgs.shape[1:])} does not make {h} x {w} patches of {p} px, {c} channels"
            )
        return patchify(imgs, p)

    def unpatchify(self, x: Tensor, c: int, h: int, w: int, p: int = 16) -> Tensor:
        """`patches.unpatchify` under the original's name and arguments: [B, h*w, p*p*c] -> [B, c, h*p, w*p].

        Raises ValueError where the sizes do not fit.
        """
        if x.shape[2] != p * p * c:
            raise ValueError(f"patches of {x.shape[2]} values are not of {p} px and {c} channels")
        return unpatchify(x, c, h, w)

    def forward_feat(self, audio: Tensor, imgs: Tensor) -> tuple[Tensor, Tensor]:
        """Unmasked token features of each modality, for retrieval: [B, La, D] and [B, Lv, D]."""
        a = self.shared(self.stream_a(self.embed_a(audio)), "a")
        v = self.shared(self.stream_v(self.embed_v(imgs)), "v")
        return a, v


def _parts(cut: list[tuple[int, float]], *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut each tensor along the batch, as `BatchShare.parts` says."""
    return [torch.split(tensor, [size for size, _ in cut]) for tensor in tensors]
