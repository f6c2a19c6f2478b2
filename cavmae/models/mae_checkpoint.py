"""Reading vision-MAE checkpoints of three kinds into one naming: facebookresearch/mae, timm, Hugging Face ViTMAE."""

import re
from pathlib import Path

import torch
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.state_file import read_state

_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
# Hugging Face name of a layer's part -> facebookresearch's
_HF_LAYER = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "mlp.fc1": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc2": "mlp.fc2",
}
_HF_SINGLE = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "vit.layernorm": "norm",
    "decoder.decoder_embed": "decoder_embed",
    "decoder.decoder_pos_embed": "decoder_pos_embed",
    "decoder.mask_token": "mask_token",
    "decoder.decoder_norm": "decoder_norm",
    "decoder.decoder_pred": "decoder_pred",
}
_HF_QKV = re.compile(r"^(.*)\.attention\.(?:attention\.)?(query|key|value|q_proj|k_proj|v_proj)\.(weight|bias)$")
_HF_BLOCK = re.compile(r"^(?:vit\.(?:encoder\.)?layers?|decoder\.(?:decoder_)?layers)\.(\d+)\.(.*)\.(weight|bias)$")


def read_mae_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights under facebookresearch's names; raises InputError where the file is none of the three kinds."""
    if path.is_dir():
        file = next((path / name for name in _FOLDER_FILES if (path / name).is_file()), None)
        if file is None:
            raise InputError(f"{path}: holds neither {' nor '.join(_FOLDER_FILES)}")
    else:
        file = path
    state = read_state(file)
    if any(key.startswith(("vit.", "embeddings.")) for key in state):
        return _from_hugging_face(state, file)
    return {key.removeprefix("module."): value for key, value in state.items()}


def _from_hugging_face(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename, and join query, key and value into one projection."""
    out: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for raw, value in state.items():
        key = raw if raw.startswith(("vit.", "decoder.")) else f"vit.{raw}"
        qkv = _HF_QKV.match(key)
        if qkv:
            parts.setdefault((_block(qkv[1] + ".x.weight"), qkv[3]), {})[qkv[2][0]] = value
            continue
        block = _HF_BLOCK.match(key)
        if block and block[2] in _HF_LAYER:
            prefix = "decoder_blocks" if key.startswith("decoder.") else "blocks"
            out[f"{prefix}.{block[1]}.{_HF_LAYER[block[2]]}.{block[3]}"] = value
            continue
        stem, _, kind = key.rpartition(".")
        if key in _HF_SINGLE:
            out[_HF_SINGLE[key]] = value
        elif stem in _HF_SINGLE:
            out[f"{_HF_SINGLE[stem]}.{kind}"] = value
        else:
            out[key] = value
    for (block_name, kind), three in parts.items():
        if set(three) != {"q", "k", "v"}:
            raise InputError(f"{path}: {block_name} has no complete query, key and value")
        out[f"{block_name}.attn.qkv.{kind}"] = torch.cat([three["q"], three["k"], three["v"]])
    return out


def _block(key: str) -> str:
    found = _HF_BLOCK.match(key)
    prefix = "decoder_blocks" if key.startswith("decoder.") else "blocks"
    return f"{prefix}.{found[1]}" if found else key
