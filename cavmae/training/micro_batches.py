"""A batch in pieces that fit into memory."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from cavmae.training.batches import TrainBatch


def pieces(batch: TrainBatch, size: int) -> Iterator[tuple[int, TrainBatch]]:
    """Cut the clips that a process holds into pieces of at most `size`; yield the first clip's number and the piece.

    The share of the whole batch stays with the batch; a piece has none.
    """
    alone = replace(batch, share=None)
    for start in range(0, len(batch.clips), size):
        yield start, _rows(alone, start, min(start + size, len(batch.clips)))


def _rows(value: Any, start: int, stop: int) -> Any:
    """Rows of all that a batch holds: tensors, arrays and lists by clip, and records of them."""
    if isinstance(value, (Tensor, np.ndarray, list)):
        return value[start:stop]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _rows(getattr(value, field.name), start, stop) for field in fields(value)})
    if isinstance(value, tuple):
        return type(value)(*(_rows(item, start, stop) for item in value))
    return value
