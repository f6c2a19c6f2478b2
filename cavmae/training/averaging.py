"""Weight averaging: one model from the weights of several epochs (Izmailov et al. 2018; the original's `wa_model`)."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.files import EPOCHS
from cavmae.training.curves import read_curves
from cavmae.training.params import AverageParams
from cavmae.training.runs import CURVES

log = logging.getLogger(__name__)
_BEST_BY = "val_mAP"
_AT_ONCE = 1 << 24  # values of a file that are in memory together: 64 MB


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
    """Plain mean of state dicts, summed in float32 in the order of `paths`; whole numbers become float, as in the original.

    Memory is that of one model, however many files there are: a few tensors of one file are read at a time. Raises InputError
    for a file that cannot be read or holds other parameters than the first.
    """
    shapes = _shapes(paths[0])
    for path in paths[1:]:
        if _shapes(path) != shapes:
            raise InputError(f"{path}: holds other parameters than {paths[0]}")
    mean: dict[str, Tensor] = {}
    for keys in _groups(shapes):
        for path in paths:
            # a file that stays open stays in memory as far as it was read
            with _opened(path) as file:
                for key in keys:
                    value = file.get_tensor(key)
                    mean[key] = mean[key].add_(value) if key in mean else value.to(torch.float32, copy=True)
                    del value
        for key in keys:
            mean[key] = mean[key].div_(torch.tensor(float(len(paths))))
    return mean


def _groups(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    """Yield the names of tensors that have up to _AT_ONCE values together, or of a larger one alone."""
    group: list[str] = []
    count = 0
    for key, shape in shapes.items():
        if group and count + math.prod(shape) > _AT_ONCE:
            yield group
            group, count = [], 0
        group.append(key)
        count += math.prod(shape)
    if group:
        yield group


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with _opened(path) as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in sorted(file.keys())}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
