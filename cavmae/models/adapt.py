"""Vision-MAE weights become CAV-MAE's first weights, as the original's `adapt_vmae_weights.py` does it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.cavmae import CAVMAE

_NORMS = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")


@dataclass
class AdaptReport:
    """Which keys of the checkpoint were used, which were not, and which of the model's stayed as they were drawn."""

    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Three lines for a person: each group by the first part of its keys, with counts."""
        return [f"{name} {len(keys)}: {_grouped(keys)}" for name, keys in self._groups()]

    def _groups(self) -> list[tuple[str, list[str]]]:
        return [("taken from the checkpoint", self.taken), ("left in the checkpoint", self.left), ("new in the model", self.new)]


def adapt(model: CAVMAE, mae: dict[str, Tensor]) -> AdaptReport:
    """Copy the weights of a vision MAE, under its own parameter names, into `model`; the decoder where there is one.

    Layer i feeds both modality streams where they reach, else a shared block, whose norms all three take its norms. The
    audio stem is the sum over the colours of the visual stem. The audio prediction head takes the first rows of the
    visual one, a choice of the original. Raises InputError where sizes do not fit.
    """
    own = model.state_dict()
    copies: dict[str, Tensor] = {}
    used: set[str] = set()

    def take(source: str, *targets: str, convert: str | None = None) -> None:
        if source not in mae:
            return
        used.add(source)
        for target in targets:
            # what has other dimensions altogether is left as it is, for the check of shapes to name
            fits = mae[source].ndim == own[target].ndim
            copies[target] = _convert(mae[source], convert, own[target]) if fits else mae[source]

    depth = len(model.blocks_a)
    for key in mae:
        parts = key.split(".")
        if parts[0] == "blocks" and len(parts) > 2 and parts[1].isdecimal():
            layer, rest = int(parts[1]), ".".join(parts[2:])
            if layer < depth:
                targets = [f"blocks_a.{layer}.{rest}", f"blocks_v.{layer}.{rest}"]
            else:
                targets = [f"blocks_u.{layer - depth}.{rest}"]
                if rest in _NORMS:
                    name, kind = rest.split(".")
                    targets += [f"blocks_u.{layer - depth}.{name}_{m}.{kind}" for m in ("a", "v")]
            take(key, *(target for target in targets if target in own))
            if not all(target in own for target in targets):
                used.discard(key)
        elif key in own and key.startswith(("decoder_blocks.", "decoder_embed.", "decoder_norm.")):
            take(key, key)
    for kind in ("weight", "bias"):
        take(f"norm.{kind}", f"norm.{kind}", f"norm_a.{kind}", f"norm_v.{kind}")
        take(f"decoder_pred.{kind}", f"decoder_pred_v.{kind}")
        take(f"decoder_pred.{kind}", f"decoder_pred_a.{kind}", convert="first_rows")
    take("patch_embed.proj.weight", "patch_embed_v.proj.weight")
    take("patch_embed.proj.weight", "patch_embed_a.proj.weight", convert="sum_colours")
    take("patch_embed.proj.bias", "patch_embed_a.proj.bias", "patch_embed_v.proj.bias")
    take("pos_embed", "pos_embed_v", convert="without_class_token")
    take("decoder_pos_embed", "decoder_pos_embed_v", convert="without_class_token")
    take("mask_token", "mask_token")
    _check(copies, own, mae)
    model.load_state_dict({**own, **copies})
    return AdaptReport(sorted(used), sorted(set(mae) - used), sorted(set(own) - set(copies)))


def _convert(value: Tensor, how: str | None, target: Tensor) -> Tensor:
    if how == "sum_colours":
        return torch.sum(value, dim=1, keepdim=True)
    if how == "first_rows":
        return value[: len(target)]
    if how == "without_class_token":
        return value[:, 1:] if value.shape[1] == target.shape[1] + 1 else value
    return value


def _check(copies: dict[str, Tensor], own: dict[str, Tensor], mae: dict[str, Tensor]) -> None:
    if "patch_embed_a.proj.weight" in mae or "module.patch_embed_a.proj.weight" in mae:
        raise InputError("the checkpoint is a CAV-MAE already; read it with `cavmae import`")
    if "patch_embed.proj.weight" not in mae or not any(key.startswith("blocks.") for key in mae):
        raise InputError("the checkpoint is no vision MAE: it holds no patch_embed.proj.weight or no blocks")
    layers, shared, specific = _layers(mae, "blocks"), _layers(own, "blocks_u"), _layers(own, "blocks_a")
    if layers < shared + specific:
        raise InputError(f"the checkpoint has {layers} layers, the model {shared + specific}; set adapt.model.depth={layers}")
    for key, value in copies.items():
        if value.shape != own[key].shape:
            raise InputError(
                f"the checkpoint gives {key} the shape {tuple(value.shape)}, the model wants {tuple(own[key].shape)}; "
                "set the sizes under adapt.model to those of the checkpoint"
            )


def _layers(state: dict[str, Tensor], name: str) -> int:
    numbers = [key.split(".")[1] for key in state if key.startswith(f"{name}.")]
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _grouped(keys: list[str]) -> str:
    counts: dict[str, int] = {}
    for key in keys:
        root = key.partition(".")[0]
        counts[root] = counts.get(root, 0) + 1
    return ", ".join(root if count == 1 else f"{root} ({count})" for root, count in counts.items()) or "none"
