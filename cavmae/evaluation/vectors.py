"""The representations that retrieval compares, at length 1."""

import numpy as np

from cavmae.evaluation.ranking import Array, FloatArray

_AT_ONCE = 4096  # rows
_GATHERED = 256  # rows, few enough for the cache


class Vectors:
    """Vectors [N, D] at length 1: in float32 all of them, in float64 the rows that are asked for.

    A zero vector stays zero: it is equally near to every clip, hence at chance. With `unit=False` they stay as they are.
    """

    def __init__(self, given: Array, unit: bool = True) -> None:
        self._given = given
        self._divisor = np.ones((len(given), 1))
        self.single: Array = np.empty(given.shape, np.float32)
        self.finite, self.longest = True, 1.0
        for at in range(0, len(given), _AT_ONCE):
            part = slice(at, at + _AT_ONCE)
            rows = given[part].astype(np.float64)
            norm = np.linalg.norm(rows, axis=1, keepdims=True)
            self.finite &= bool(np.isfinite(norm).all())
            if unit:
                self._divisor[part] = np.where(np.isfinite(norm) & (norm > 0), norm, 1)
            else:
                self.longest = max(self.longest, float(norm.max()))
            self.single[part] = rows / self._divisor[part]

    def __len__(self) -> int:
        return len(self._given)

    def double(self, rows: slice | Array) -> FloatArray:
        """Return some of them in float64."""
        return np.asarray(self._given[rows].astype(np.float64) / self._divisor[rows], np.float64)

    def products(self, other: "Vectors", rows: Array, columns: Array) -> FloatArray:
        """Return the products [K] of `rows` [K] with rows `columns` [K] of another set, in float64."""
        found = np.empty(len(rows))
        for at in range(0, len(rows), _GATHERED):
            i, j = rows[at : at + _GATHERED], columns[at : at + _GATHERED]
            product = np.einsum("kd,kd->k", self._given[i].astype(np.float64), other._given[j].astype(np.float64))
            found[at : at + _GATHERED] = product / (self._divisor[i, 0] * other._divisor[j, 0])
        return found

    def own_products(self, other: "Vectors") -> FloatArray:
        """Return the products [N] of row n with row n of another set, in float64."""
        everyone = np.arange(len(self))
        return self.products(other, everyone, everyone)


def nearest(queries: FloatArray, gallery: Vectors, count: int, block: int = _AT_ONCE) -> tuple[Array, FloatArray]:
    """Return the `count` nearest rows of `gallery` to `queries` [Q, D], nearest first: numbers and similarities [Q, count].

    Similarities that agree to nine digits tie, and stand in the order of the gallery. One block of it is compared at a time.
    """
    found, near = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0))
    for at in range(0, len(gallery), block):
        similarity = queries @ gallery.double(slice(at, at + block)).T  # [Q, block]
        numbers = np.broadcast_to(np.arange(at, at + similarity.shape[1]), similarity.shape)
        found, near = np.concatenate([found, numbers], axis=1), np.concatenate([near, similarity], axis=1)
        order = np.argsort(-near.round(9), axis=1, kind="stable")[:, :count]  # the earlier ones stand to the left
        found, near = np.take_along_axis(found, order, axis=1), np.take_along_axis(near, order, axis=1)
    return found, near
