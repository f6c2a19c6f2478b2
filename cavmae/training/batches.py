"""Batches for training, built on the host: which frame, which partner, which masks, all drawn by clip and epoch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.clip_reader import ClipReader, Wanted
from cavmae.dataset.loader import ClipRecord
from cavmae.dataset.records import decode_picture
from cavmae.features.augment import MIXUP_ALPHA, Augmentation, Drawn, Draws, clip_rng, draw
from cavmae.features.fbank import FbankSettings
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.models.batch_share import BatchShare
from cavmae.models.masking import MaskMode, strike


@dataclass(frozen=True)
class TrainBatch:
    """What a training step takes; `weight` [B] is the share of each clip against its `partner`, 1 where it is not mixed.

    Where several processes hold a batch together these are the clips of one, and `share` says which of the batch they are.
    """

    clips: list[ClipRecord]
    raw: RawBatch
    draws: Draws
    targets: Tensor | None = None  # [B, C]
    partner: RawBatch | None = None
    partner_targets: Tensor | None = None  # [B, C]
    weight: Tensor | None = None
    noise_a: Tensor | None = None  # [B, La]
    noise_v: Tensor | None = None  # [B, Lv]
    inputs: "ModelInputs | None" = None
    share: BatchShare | None = None
    copied: "torch.cuda.Event | None" = None  # on a GPU: when all of it will be there

    @classmethod
    def empty(cls) -> "TrainBatch":
        """What a process has of a batch of fewer clips than processes."""
        nothing = torch.zeros(0)
        return cls([], RawBatch(nothing, nothing, nothing), Draws(*[np.zeros(0)] * 7))

    def sent(self, stream: "torch.cuda.Stream") -> "TrainBatch":
        """The batch on the GPU of `stream`, on which it is copied, beside what the GPU is at. Call `arrived` before use."""
        device = stream.device  # threads do not know which GPU the process has chosen
        with torch.cuda.stream(stream):
            moved: dict[str, Any] = {}
            for part in fields(self):
                value = getattr(self, part.name)
                if isinstance(value, RawBatch):
                    moved[part.name] = value.to(device)
                elif isinstance(value, Tensor):
                    moved[part.name] = value.to(device, non_blocking=True)
            return replace(self, **moved, copied=stream.record_event())

    def arrived(self) -> "TrainBatch":
        """The batch, which what the current stream of the GPU does from now on waits for where it was `sent`."""
        if self.copied is None:
            return self
        current = torch.cuda.current_stream()
        current.wait_event(self.copied)
        for part in fields(self):
            value = getattr(self, part.name)
            for tensor in vars(value).values() if isinstance(value, RawBatch) else (value,):
                if isinstance(tensor, Tensor):
                    tensor.record_stream(current)  # lest its memory is given away while that stream still reads it
        return replace(self, copied=None)


class ModelInputs(NamedTuple):
    """What the front end made of a batch: log-mel [B, T, M] and pictures [B, 3, H, W], where the mode uses them."""

    audio: Tensor | None
    images: Tensor | None


def model_inputs(front_end: FrontEnd, batch: TrainBatch, device: torch.device, audio: bool, images: bool) -> ModelInputs:
    """Run the front end on `device`, in float32 whatever precision the model runs in."""
    raw = batch.raw.to(device)
    partner = batch.partner.to(device) if batch.partner is not None else None
    weight = batch.weight.to(device) if batch.weight is not None else None
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        return ModelInputs(
            front_end.audio(raw, batch.draws, partner, weight) if audio else None,
            front_end.images(raw, partner, weight) if images else None,
        )


@dataclass(frozen=True)
class MaskSettings:
    """Sizes and kind of the masks that are drawn for pretraining."""

    grid_a: tuple[int, int]
    grid_v: tuple[int, int]
    mode: MaskMode
    ratio_a: float
    official_ties: bool = False

    @property
    def tokens(self) -> tuple[int, int]:
        """Numbers of patches, of the spectrogram and of the picture."""
        return self.grid_a[0] * self.grid_a[1], self.grid_v[0] * self.grid_v[1]

    def draw(self, rng: np.random.Generator, noise_a: np.ndarray, noise_v: np.ndarray) -> None:
        """Draw the noise of one clip into float32 [La] and [Lv], audio first."""
        rng.random(out=noise_a, dtype=np.float32)
        rng.random(out=noise_v, dtype=np.float32)
        if self.mode != "unstructured":
            struck = random.Random(int(rng.integers(2**62)))
            whole = torch.from_numpy(noise_a).unsqueeze(0)
            whole.copy_(strike(whole, self.mode, self.ratio_a, *self.grid_a, rng=struck, official_ties=self.official_ties))


@dataclass(frozen=True)
class BatchBuilder:
    """Builds the batch of some clips in some epoch, the same on whatever host and in whatever order it is asked.

    With `pinned`, samples and pictures lie in memory from which a GPU copies by itself.
    """

    clips: Sequence[ClipRecord]
    fbank: FbankSettings
    image_size: int
    seed: int
    augmentation: Augmentation
    targets: np.ndarray | None = None  # [N, C]
    masks: MaskSettings | None = None
    mixup: float = 0.0
    middle_frame: bool = False  # the frame of validation, instead of a drawn one
    reader: ClipReader = field(default_factory=ClipReader)
    pinned: bool = False

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Read, decode and draw for the clips at `indices`, which may be none."""
        if not indices:
            return TrainBatch.empty()
        masks, noise_a, noise_v = self.masks, None, None
        if masks is not None:
            noise_a, noise_v = (np.empty((len(indices), tokens), dtype=np.float32) for tokens in masks.tokens)
        own = []
        for row, index in enumerate(indices):
            rng = clip_rng(self.seed, epoch, self.clips[index].video_id)
            own.append(self._draw(rng))
            if masks is not None and noise_a is not None and noise_v is not None:
                masks.draw(rng, noise_a[row], noise_v[row])
        batch = TrainBatch(
            clips=[self.clips[index] for index in indices],
            raw=self._collate([(index, item.frame) for index, item in zip(indices, own, strict=True)]),
            draws=Draws.stack([item.drawn for item in own]),
            targets=None if self.targets is None else torch.from_numpy(self.targets[list(indices)]),
            noise_a=None if noise_a is None else torch.from_numpy(noise_a),
            noise_v=None if noise_v is None else torch.from_numpy(noise_v),
        )
        if self.mixup == 0:
            return batch
        # an unmixed clip is its own partner: weight 1 leaves it as it is
        partners = [item.partner if item.weight < 1 else index for index, item in zip(indices, own, strict=True)]
        return replace(
            batch,
            partner=self._collate([(index, item.partner_frame) for index, item in zip(partners, own, strict=True)], waits=False),
            partner_targets=None if self.targets is None else torch.from_numpy(self.targets[partners]),
            weight=torch.tensor([item.weight for item in own], dtype=torch.float32),
        )

    def _draw(self, rng: np.random.Generator) -> "_ClipDraw":
        frame, partner_frame = rng.random(2).tolist()
        mixed = rng.random() < self.mixup
        weight = float(rng.beta(MIXUP_ALPHA, MIXUP_ALPHA)) if mixed else 1.0
        partner = int(rng.integers(len(self.clips)))
        drawn = draw(rng, self.augmentation, self.fbank.target_length, self.fbank.num_mel_bins)
        return _ClipDraw(0.5 if self.middle_frame else frame, partner_frame, weight, partner, drawn)

    def _collate(self, wanted: list[tuple[int, float]], waits: bool = True) -> RawBatch:
        # the width does not depend on the batch: equal clips then give equal numbers whatever stands beside them
        waveform = torch.empty(len(wanted), self.fbank.max_samples, dtype=torch.int16, pin_memory=self.pinned)
        frames = torch.empty(len(wanted), self.image_size, self.image_size, 3, dtype=torch.uint8, pin_memory=self.pinned)
        pictures, lengths = frames.numpy(), []
        contents = self.reader.read([Wanted(self.clips[index], frame, waits) for index, frame in wanted], waveform.numpy())
        for row, (samples, name, jpeg) in enumerate(contents):
            lengths.append(samples)
            pictures[row] = decode_picture(jpeg, name, self.image_size)
        return RawBatch(waveform, torch.tensor(lengths), frames)


class _ClipDraw(NamedTuple):
    frame: float  # in [0, 1): which of the clip's frames
    partner_frame: float
    weight: float
    partner: int
    drawn: Drawn
