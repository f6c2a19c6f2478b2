"""The order of an epoch: every clip once, whoever trains; shards read through once, by few processes each."""

from collections import Counter

import numpy as np
import pytest

from cavmae.dataset.order import LANES, EpochOrder, shard_numbers
from cavmae.training.distributed import World


def order(clips: int, per_shard: int = 64, batch_size: int = 48, shuffle_buffer: int = 800, seed: int = 0) -> EpochOrder:
    return EpochOrder(np.arange(clips) // per_shard, seed, batch_size, shuffle_buffer)


def batches(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return [indices[at : at + size] for at in range(0, len(indices), size)]


def of_rank(indices: np.ndarray, size: int, rank: int, ranks: int) -> list[np.ndarray]:
    """What one of several processes gets of each batch."""
    shares = [(batch, World(rank, ranks).share(len(batch))) for batch in batches(indices, size)]
    return [batch[share.start : share.stop] for batch, share in shares]


def test_few_clips_are_permuted_as_a_whole() -> None:
    for seed in range(3):
        for epoch in range(3):
            wanted = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(50)
            assert np.array_equal(order(50, seed=seed)(epoch), wanted)
    assert not order(800).is_sequential and order(801).is_sequential


@pytest.mark.parametrize("ranks", [1, 3, 4])
@pytest.mark.parametrize(
    ("clips", "per_shard", "batch_size"),
    [
        (4000, 64, 48),
        (4001, 64, 48),  # the last batch holds 17
        (3985, 64, 48),  # and here one
        (4000, 1000, 48),  # fewer shards than lanes
        (4000, 4000, 48),  # one shard
        (2000, 7, 5),  # fewer positions than lanes
        (2000, 64, 2),
        (1000, 64, 1500),  # one batch, which is not full
    ],
)
def test_every_clip_comes_once_an_epoch_on_any_number_of_processes(
    ranks: int, clips: int, per_shard: int, batch_size: int
) -> None:
    for epoch in (1, 2):
        indices = order(clips, per_shard, batch_size)(epoch)
        seen = [index for rank in range(ranks) for part in of_rank(indices, batch_size, rank, ranks) for index in part.tolist()]
        assert Counter(seen) == Counter(range(clips))


def test_seed_epoch_batch_size_and_buffer_decide_and_nothing_else() -> None:
    first = order(4000)(1)
    assert np.array_equal(first, order(4000)(1))
    others = [order(4000)(2), order(4000, seed=1)(1), order(4000, batch_size=50)(1), order(4000, shuffle_buffer=400)(1)]
    assert all(not np.array_equal(first, other) for other in others)
    renamed = EpochOrder(shard_numbers([f"s{number:03d}" for number in np.arange(4000) // 64]), 0, 48, 800)
    assert np.array_equal(first, renamed(1))


@pytest.mark.parametrize("ranks", [2, 4, 8, 16])
def test_each_process_reads_its_share_of_the_shards(ranks: int) -> None:
    clips, per_shard, size = 64 * 640, 64, 48
    indices = order(clips, per_shard, size)(1)
    read = [set((np.concatenate(of_rank(indices, size, rank, ranks)) // per_shard).tolist()) for rank in range(ranks)]
    # the ends of a lane's part of the stream lie within a shard
    assert max(map(len, read)) <= 640 // ranks + LANES // ranks + 1
    assert len(set.union(*read)) == 640


def test_a_shard_is_read_from_its_first_clip_to_its_last_within_the_buffer() -> None:
    clips, per_shard, size, buffer = 64 * 640, 64, 48, 3200
    shards = order(clips, per_shard, size, buffer)(1) // per_shard
    spans = [np.ptp(np.flatnonzero(shards == shard)) for shard in range(640)]
    # in a lane a clip moves by at most the lane's share of the buffer either way; all lanes together, so many times as far
    assert max(spans) <= 2 * buffer + LANES * per_shard + 2 * size
    open_at_once = [
        sum(np.flatnonzero(shards == shard)[0] <= at <= np.flatnonzero(shards == shard)[-1] for shard in range(640))
        for at in (10_000, 20_000, 30_000)
    ]
    assert max(open_at_once) <= 2 * buffer / per_shard + 2 * LANES


def test_clips_of_a_shard_are_spread_over_batches() -> None:
    clips, per_shard, size = 64 * 640, 64, 48
    shards = order(clips, per_shard, size, 3200)(1) // per_shard
    most = max(Counter(batch.tolist()).most_common(1)[0][1] for batch in batches(shards, size))
    assert most <= 8, "a batch of neighbours would hold 48 of one shard"
    assert len({tuple(batch) for batch in batches(shards, size)}) > 800


def test_drawing_with_weights_is_as_it_always_was() -> None:
    weights = np.arange(1.0, 101.0)
    drawn = EpochOrder(np.arange(100) // 10, 3, 10, 5, weights)
    wanted = np.random.Generator(np.random.Philox(key=[3, 7])).choice(100, size=100, p=weights / weights.sum())
    assert np.array_equal(drawn(7), wanted) and not drawn.is_sequential
