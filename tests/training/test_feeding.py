"""What a process gets of an epoch: every clip once over all processes, nothing again after a stop, in order by any readers."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from cavmae.errors import StepFailed
from cavmae.training.batches import TrainBatch
from cavmae.training.distributed import World
from cavmae.training.feeding import feed, shares, trained_order
from tests.threads import ended
from tests.training.tiny import params
from tests.training.toy import Toy


class Recorded(Toy):
    """Writes down what is built and what is said to be done with."""

    def __init__(self, clips: int) -> None:
        super().__init__([1.0] * clips)
        self.built: list[list[int]] = []
        self.done: list[int] = []
        self.planned: list[list[int]] = []
        self.ended = False

    @contextmanager
    def reading(self, batches: Sequence[Sequence[int]]) -> Iterator[Callable[[int], None]]:  # type: ignore[override]
        self.planned = [list(batch) for batch in batches]
        try:
            yield self.done.append
        finally:
            self.ended = True

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        self.built.append(list(indices))
        return super().build(indices, epoch)


def ids(batch: TrainBatch) -> list[int]:
    return [int(clip.video_id) for clip in batch.clips]


@pytest.mark.parametrize("ranks", [1, 3, 4])
@pytest.mark.parametrize(("clips", "drop_last", "expected"), [(50, "false", 50), (50, "true", 48), (49, "false", 49)])
def test_over_all_processes_every_clip_comes_once(ranks: int, clips: int, drop_last: str, expected: int) -> None:
    given = params("pretrain", batch_size=8, drop_last=drop_last)
    order = trained_order(Recorded(clips), given, epoch=1)
    parts = [shares(order, 8, World(rank, ranks)) for rank in range(ranks)]
    seen = Counter(index for part in parts for indices, _ in part for index in indices)
    assert len(order) == expected and seen == Counter(order) and set(seen.values()) == {1}
    for together in zip(*parts, strict=True):
        assert [share.start for _, share in together[1:]] == [share.stop for _, share in together[:-1]]
        assert {share.whole for _, share in together} == {sum(len(indices) for indices, _ in together)}


@pytest.mark.parametrize("readers", [1, 4])
def test_batches_come_in_order_and_what_was_trained_is_not_read_again(readers: int) -> None:
    given, before = params("pretrain", batch_size=8, readers=readers), threading.active_count()
    whole, rest = Recorded(50), Recorded(50)
    batches = [ids(batch) for batch in feed(whole, given, World(), 1, 0)]
    assert [index for batch in batches for index in batch] == whole.order(1).tolist() and len(batches) == 7
    assert whole.done == list(range(7)) and whole.ended
    assert [ids(batch) for batch in feed(rest, given, World(), 1, 3)] == batches[3:]
    assert sorted(rest.built) == sorted(batches[3:]) == sorted(rest.planned)
    assert ended(before)


def test_closing_ends_the_threads_and_no_more_is_built_than_may_wait() -> None:
    given, before = params("pretrain", batch_size=2, readers=3), threading.active_count()
    toy = Recorded(1000)
    batches = feed(toy, given, World(), 1, 0)
    next(batches)
    batches.close()
    assert ended(before) and toy.ended and len(toy.built) <= 1 + 3 + 3


def test_an_error_comes_in_its_turn() -> None:
    class Broken(Recorded):
        def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
            if 7 in indices:
                raise StepFailed("shard is missing")
            return super().build(indices, epoch)

    given, before = params("pretrain", batch_size=5, readers=4), threading.active_count()
    toy = Broken(100)
    at = next(number for number in range(20) if 7 in toy.order(1)[5 * number : 5 * number + 5])
    seen = []
    with pytest.raises(StepFailed, match="shard is missing"):
        for batch in feed(toy, given, World(), 1, 0):
            seen.append(ids(batch))
    assert len(seen) == at and ended(before)
