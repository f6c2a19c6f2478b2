"""What a checkpoint of the original CAV-MAE is: which model, and its parameters under their bare names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.encoder import VISUAL_PARTS, Modalities

PREFIX = "module."  # in front of every name, where torch's DataParallel wrapped the model
# the original's adapt_vmae_weights.py stores the vision MAE's class token three times; no model of its has one
_UNUSED = ("cls_token_a", "cls_token_v", "cls_token_av")
_DECODER = ("decoder_", "mask_token")
_HEAD = "mlp_head."
_OWN = ("patch_embed_a.", "pos_embed_a", "modality_a", "blocks_a.", "blocks_u.")


@dataclass(frozen=True)
class OfficialState:
    """Parameters [any shape] by bare name, and what was taken off: the names' prefix, keys without use, other precision."""

    parameters: dict[str, Tensor]
    kind: Literal["pretrained", "classifier"]
    modalities: Modalities
    prefix: str
    left_out: tuple[str, ...]
    precision: tuple[str, ...]

    @property
    def model(self) -> str:
        """The original's class of this model."""
        return "CAVMAE" if self.kind == "pretrained" else "CAVMAEFT" if self.modalities == "av" else "CAVMAEFTAudio"


def recognise(state: dict[str, Tensor], path: Path) -> OfficialState:
    """Return which model a state dict, read from `path`, is, and its parameters in float32.

    Raises InputError, saying what it is instead, where it is no CAV-MAE model.
    """
    prefix = ""
    while all(key.startswith(prefix + PREFIX) for key in state):
        prefix += PREFIX
    state = {key[len(prefix) :]: value for key, value in state.items()}
    _refuse_other_models(state, path)
    has_head = any(key.startswith(_HEAD) for key in state)
    has_decoder = any(key.startswith(_DECODER) for key in state)
    if not has_head and not has_decoder:
        raise InputError(
            f"{path}: holds an encoder alone: decoder (decoder_embed.weight and more) and head (mlp_head.1.weight and more) "
            "are missing; import the checkpoint that it was cut from"
        )
    left_out: tuple[str, ...] = ()
    if not has_head and _same(state, _UNUSED):
        left_out = _UNUSED
        state = {key: value for key, value in state.items() if key not in _UNUSED}
    for key, value in state.items():
        if not value.is_floating_point():
            raise InputError(f"{path}: {key} holds {value.dtype}, not floating-point numbers")
    has_visual = any(key.partition(".")[0] in VISUAL_PARTS for key in state)
    return OfficialState(
        parameters={key: value.float() for key, value in state.items()},
        kind="classifier" if has_head else "pretrained",
        modalities="av" if has_visual or not has_head else "a",
        prefix=prefix,
        left_out=left_out,
        precision=tuple(sorted({str(value.dtype).removeprefix("torch.") for value in state.values()} - {"float32"})),
    )


def _same(state: dict[str, Tensor], keys: tuple[str, ...]) -> bool:
    """Tell whether all of `keys` are there and equal: a class token that was trained would differ from its copies."""
    return all(key in state and torch.equal(state[key], state[keys[0]]) for key in keys)


def _refuse_other_models(state: dict[str, Tensor], path: Path) -> None:
    if any(key.startswith(_OWN) for key in state):
        return
    roots = {key.partition(".")[0] for key in state}
    if {"blocks", "patch_embed"} <= roots or any(key.startswith(("vit.", "embeddings.")) for key in state):
        raise InputError(
            f"{path}: is a vision transformer of pictures alone, not CAV-MAE; "
            f"start from it with `cavmae adapt --checkpoint {path}`"
        )
    raise InputError(f"{path}: is no CAV-MAE: it holds {', '.join(sorted(state)[:3])}, and no patch_embed_a.proj.weight")
