"""The order of an epoch's clips: a function of seed, epoch, data set and batch size alone.

Few clips are permuted as a whole. Of many the shards are permuted, and their clips, one after another, make a stream that is cut
into lanes: batch position p belongs to lane p * LANES // batch_size, and each lane goes through its own part of the stream,
shuffled as by a buffer. Processes that share a batch hold neighbouring positions, so each reads about its share of the shards and
no more, each from beginning to end once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LANES = 16  # numbers of processes that divide it have whole lanes each


@dataclass(frozen=True)
class EpochOrder:
    """The orders of all epochs over N clips; `shards` [N] says, by any number, which shard each clip lies in.

    With `weights` [N] clips are drawn with replacement, in proportion to them. Such draws come in no order of shards: a clip that
    is drawn often would else come many times within a few batches and then never again.
    """

    shards: np.ndarray
    seed: int
    batch_size: int
    shuffle_buffer: int
    weights: np.ndarray | None = None

    @property
    def is_sequential(self) -> bool:
        """Whether shards are gone through one after another, rather than all at once."""
        return self.weights is None and len(self.shards) > self.shuffle_buffer

    def __call__(self, epoch: int) -> np.ndarray:
        """Return clip indexes [N] in the order in which epoch `epoch` wants them."""
        count = len(self.shards)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        if self.weights is not None:
            return rng.choice(count, size=count, p=self.weights / self.weights.sum())
        if not self.is_sequential:
            return rng.permutation(count)
        stream = _by_permuted_shards(self.shards, rng)
        within = max(1, self.shuffle_buffer // LANES)
        order = np.empty(count, dtype=np.int64)
        start = 0
        for places in _places_of_lanes(count, self.batch_size):
            part = stream[start : start + len(places)]
            order[places] = part[_shuffled(len(part), within, rng)]
            start += len(places)
        return order


def shard_numbers(names: Sequence[str]) -> np.ndarray:
    """Number shards by name: equal names get equal numbers, [N]."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _by_permuted_shards(shards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clip indexes [N] shard after shard, the shards in an order of their own, the clips of each as they lie."""
    numbers = np.unique(shards)
    rank = rng.permutation(len(numbers))
    return np.argsort(rank[np.searchsorted(numbers, shards)], kind="stable")


def _places_of_lanes(count: int, batch_size: int) -> list[np.ndarray]:
    """The places in the epoch's order that belong to each lane, ascending; the smaller last batch is dealt in the same way."""
    places = np.arange(count)
    whole = count // batch_size * batch_size
    sizes = np.where(places < whole, batch_size, max(count - whole, 1))
    lanes = (places % batch_size) * LANES // sizes
    return [places[lanes == lane] for lane in range(LANES)]


def _shuffled(count: int, within: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation [count] that moves nothing by more than `within` places: what a buffer of that size does to a stream."""
    if count <= within:
        return rng.permutation(count)
    return np.argsort(np.arange(count) + within * rng.random(count), kind="stable")
