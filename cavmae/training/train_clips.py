"""The clips that an objective trains on: their order, their shards fetched ahead, their batches."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch

from cavmae.dataset.clip_reader import ClipReader
from cavmae.dataset.order import EpochOrder, shard_numbers
from cavmae.dataset.read_ahead import Done, reading_ahead
from cavmae.dataset.shard_cache import ShardCache
from cavmae.training.batches import BatchBuilder, ModelInputs, TrainBatch
from cavmae.training.params import TrainingParams

Inputs = Callable[[TrainBatch, torch.device], ModelInputs]


class TrainClips:
    """What `builder` builds, in the order that the parameters ask for; `weights` [N] draw clips with replacement.

    `inputs` is the front end, which is run here on a CPU, beside the model's own work.
    """

    def __init__(self, builder: BatchBuilder, params: TrainingParams, inputs: Inputs, weights: np.ndarray | None = None) -> None:
        self._cache = ShardCache.of_environment()
        pinned = params.device == "cuda" and torch.cuda.is_available()
        self._builder = replace(builder, reader=ClipReader(self._cache), pinned=pinned)
        self._inputs, self._device = inputs, torch.device(params.device)
        shards = shard_numbers([clip.shard.name for clip in builder.clips])
        self.order = EpochOrder(shards, params.seed, params.batch_size, params.shuffle_buffer, weights)

    def reading(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[Done]:
        """Fetch ahead what batches of clip indexes will need, as `Objective.reading`."""
        return reading_ahead(self._builder.clips, batches, self.order.is_sequential, self._cache)

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Build a batch on the host, where that is what trains with its inputs computed."""
        batch = self._builder.build(indices, epoch)
        if not batch.clips or self._device.type != "cpu":
            return batch
        return replace(batch, inputs=self._inputs(batch, self._device))
