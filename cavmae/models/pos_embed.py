"""Fixed two-dimensional sine-cosine position tables (Vaswani et al. 2017; in two dimensions, He et al. 2022, MAE)."""

import numpy as np
import torch
from torch import Tensor


def sincos_1d(dim: int, positions: np.ndarray) -> np.ndarray:
    """Return float64 [len(positions), dim]: sin then cos of position / 10000^(k / (dim/2)), k = 0 .. dim/2 - 1."""
    omega = 1.0 / 10000 ** (np.arange(dim // 2, dtype=np.float64) / (dim / 2.0))
    angles = np.outer(positions.reshape(-1), omega)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def sincos_2d(dim: int, rows: int, columns: int) -> Tensor:
    """Return float32 [1, rows * columns, dim]; the first half of the channels encodes the column, the second the row.

    Computed in float64 and rounded once, as the published weights were. Raises ValueError where dim is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"a two-dimensional sine-cosine table needs a width that is a multiple of 4, not {dim}")
    row, column = np.meshgrid(np.arange(rows, dtype=np.float64), np.arange(columns, dtype=np.float64), indexing="ij")
    table = np.concatenate([sincos_1d(dim // 2, column), sincos_1d(dim // 2, row)], axis=1)
    return torch.from_numpy(table).float().unsqueeze(0)
