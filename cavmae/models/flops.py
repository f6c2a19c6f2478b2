"""How much a model computes for one clip, from its architecture: multiply-accumulates of linear layers and attention.

Norms, softmax and GELU are left out, as is usual: they are few. A multiply-accumulate counts as two floating-point operations, a
backward pass as two forward passes.
"""

from collections.abc import Iterable

from torch import nn

from cavmae.models.blocks import Block
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, Mode
from cavmae.models.encoder import AudioVisualEncoder
from cavmae.models.masking import len_keep

FORWARD_AND_BACKWARD = 3 * 2


def block_macs(block: Block, tokens: int) -> int:
    """Multiply-accumulates of one block over so many tokens."""
    dim, hidden = block.attn.proj.in_features, block.mlp.fc1.out_features
    return tokens * dim * (4 * dim + 2 * hidden) + 2 * tokens**2 * dim


def pretraining_macs(
    model: CAVMAE, mask_ratio_a: float = 0.75, mask_ratio_v: float = 0.75, reconstruct: bool = True, contrast: bool = True
) -> dict[str, int]:
    """Multiply-accumulates of a forward pass over one clip, part by part, as the paper has it.

    That is the plain pass: what `pretraining_pass` saves counts as done. Parts that have no weight in the loss are left out.
    """
    all_a, all_v = model.num_patches_a, model.num_patches_v
    kept_a, kept_v = len_keep(all_a, mask_ratio_a), len_keep(all_v, mask_ratio_v)
    width = model.decoder_embed.out_features
    found = {
        "patch_embed": _stem_a(model) + _stem_v(model),
        "encoder_audio": _blocks(model.blocks_a, kept_a),
        "encoder_video": _blocks(model.blocks_v, kept_v),
    }
    if reconstruct:
        found["joint_pass"] = _blocks(model.blocks_u, kept_a + kept_v)
    if contrast:
        blocks = list(model.blocks_u) if model.chain_contrast else [model.blocks_u[-1]]
        found["contrastive_passes"] = _blocks(blocks, kept_a) + _blocks(blocks, kept_v)
    if reconstruct:
        found["decoder_embed"] = (kept_a + kept_v) * model.decoder_embed.in_features * width
        found["decoder_blocks"] = _blocks(model.decoder_blocks, all_a + all_v)
        found["decoder_pred"] = width * (all_a * model.decoder_pred_a.out_features + all_v * model.decoder_pred_v.out_features)
    return found


def classifier_macs(model: CAVMAEFT, mode: Mode) -> dict[str, int]:
    """Multiply-accumulates of a forward pass over one clip in a mode, part by part; the head's are left out: they are few."""
    found: dict[str, int] = {}
    tokens = 0
    if mode not in ("videoonly", "missingvideoonly"):
        tokens += model.num_patches_a
        found |= {"patch_embed_audio": _stem_a(model), "encoder_audio": _blocks(model.blocks_a, model.num_patches_a)}
    if mode not in ("audioonly", "missingaudioonly"):
        tokens += model.num_patches_v
        found |= {"patch_embed_video": _stem_v(model), "encoder_video": _blocks(model.blocks_v, model.num_patches_v)}
    # the modes for a missing modality go through the shared blocks twice
    found["joint"] = _blocks(model.blocks_u, tokens) * (2 if mode.startswith("missing") else 1)
    return found


def _blocks(blocks: Iterable[nn.Module], tokens: int) -> int:
    return sum(block_macs(block, tokens) for block in blocks if isinstance(block, Block))


def _stem_a(model: AudioVisualEncoder) -> int:
    return int(model.num_patches_a * model.patch_embed_a.proj.weight.numel())


def _stem_v(model: AudioVisualEncoder) -> int:
    return int(model.num_patches_v * model.patch_embed_v.proj.weight.numel())
