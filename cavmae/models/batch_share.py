"""Which clips of a batch a process holds, where several processes hold one batch together."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BatchShare:
    """Clips `start` to `stop` (exclusive) of a batch of `whole` clips; there may be none.

    `gather` takes a value for each of these clips, [n, D], and returns those of all clips, [whole, D]; gradients go to the own
    ones.
    """

    start: int
    stop: int
    whole: int
    gather: Callable[[Tensor], Tensor]

    @classmethod
    def alone(cls, whole: int) -> "BatchShare":
        """All of a batch, for a process that holds it alone."""
        return cls(0, whole, whole, lambda rows: rows)

    @property
    def weight(self) -> float:
        """How much of the batch this is: a mean over the own clips counts so much in the mean over all."""
        return (self.stop - self.start) / self.whole

    def parts(self, count: int) -> list[tuple[int, float]]:
        """Cut the whole batch into `count` parts, as `torch.chunk` does.

        For each part that own clips lie in, return how many those are and how much of the part that is.
        """
        size = -(-self.whole // count)
        found = []
        for first in range(0, self.whole, size):
            last = min(first + size, self.whole)
            own = min(last, self.stop) - max(first, self.start)
            if own > 0:
                found.append((own, own / (last - first)))
        return found
