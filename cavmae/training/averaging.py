"""Weight averaging: one model from the weights of several epochs (Izmailov et al. 2018; the original's `wa_model`)."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.folder import read_weights
from cavmae.training.curves import read_curves
from cavmae.training.params import AverageParams
from cavmae.training.runs import CURVES, EPOCHS

log = logging.getLogger(__name__)
_BEST_BY = "val_mAP"


def epochs_to_average(model: Path, params: AverageParams) -> list[int]:
    """Return the epochs, in order; raises InputError where the model folder does not keep them."""
    kept = sorted(int(path.stem.removeprefix("epoch-")) for path in (model / EPOCHS).glob("epoch-*.safetensors"))
    if not kept:
        raise InputError(f"{model / EPOCHS}: no epochs are kept there; train with keep_epochs above 0")
    if params.by != "range" and params.count > len(kept):
        log.warning("average: %d epochs are asked for, %s keeps %d", params.count, model / EPOCHS, len(kept))
    if params.by == "last":
        return kept[-params.count :]
    if params.by == "range":
        wanted = list(range(params.first_epoch, params.last_epoch + 1))
        missing = [epoch for epoch in wanted if epoch not in kept]
        if missing or not wanted:
            raise InputError(
                f"{model / EPOCHS}: epochs {kept[0]} to {kept[-1]} are kept, not {params.first_epoch} to {params.last_epoch}; "
                "set first_epoch and last_epoch, or train with more keep_epochs"
            )
        return wanted
    if not (model / CURVES).is_file():
        raise InputError(f"{model / CURVES}: no such file to choose the best epochs by; average the last ones (by=last)")
    score = {int(row["epoch"]): row[_BEST_BY] for row in read_curves(model / CURVES) if _BEST_BY in row}
    if not all(epoch in score for epoch in kept):
        raise InputError(f"{model / CURVES}: no {_BEST_BY} to choose the best epochs by; average the last ones (by=last)")
    return sorted(sorted(kept, key=lambda epoch: (-score[epoch], -epoch))[: params.count])


def average_weights(paths: list[Path]) -> dict[str, Tensor]:
    """Plain mean of state dicts, summed in float32 one file at a time; whole numbers become float, as in the original."""
    total: dict[str, Tensor] = {}
    for path in paths:
        state = read_weights(path)
        shapes = {key: value.shape for key, value in state.items()}
        if total and shapes != {key: value.shape for key, value in total.items()}:
            raise InputError(f"{path}: holds other parameters than {paths[0]}")
        for key, value in state.items():
            total[key] = value.float() if key not in total else total[key] + value.float()
    return {key: value / torch.tensor(float(len(paths))) for key, value in total.items()}
