"""The classification head when the labels change: rows of known labels stay, new labels get new rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

_ROWS = ("mlp_head.1.weight", "mlp_head.1.bias")  # [C, D] and [C]; mlp_head.0 is a norm, which knows no labels


def start_from(
    own: dict[str, Tensor], parent: dict[str, Tensor], labels: Sequence[str], known: Sequence[str]
) -> dict[str, Tensor]:
    """Return the state dict `own` of a new classifier with the parent's weights where both have them.

    `labels` and `known` are the labels of the new classifier and of the parent, each in the order of its head's rows; a
    parent without a head has none. Rows of labels that the parent does not know stay as they were drawn.
    """
    state = own | {key: value for key, value in parent.items() if key in own and key not in _ROWS}
    rows = {mid: row for row, mid in enumerate(known)}
    kept = [(row, rows[mid]) for row, mid in enumerate(labels) if mid in rows]
    if kept:
        new, old = (torch.tensor(column) for column in zip(*kept, strict=True))
        for key in _ROWS:
            state[key] = own[key].clone().index_copy_(0, new, parent[key][old])
    return state
