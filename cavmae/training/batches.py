"""Batches for training, built on the host: which frame, which partner, which masks, all drawn by clip and epoch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipRecord, read_clips
from cavmae.dataset.records import decode_frame, decode_waveform, frame_count
from cavmae.features.augment import MIXUP_ALPHA, Augmentation, Draws, clip_rng, draw
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

    @classmethod
    def empty(cls) -> "TrainBatch":
        """What a process has of a batch of fewer clips than processes."""
        nothing = torch.zeros(0)
        return cls([], RawBatch(nothing, nothing, nothing), Draws(*[np.zeros(0)] * 7))


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

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Noise of one clip, [1, La] and [1, Lv], audio first."""
        noise_a = torch.from_numpy(rng.random((1, self.grid_a[0] * self.grid_a[1]), dtype=np.float32))
        noise_v = torch.from_numpy(rng.random((1, self.grid_v[0] * self.grid_v[1]), dtype=np.float32))
        if self.mode != "unstructured":
            struck = random.Random(int(rng.integers(2**62)))
            noise_a = strike(noise_a, self.mode, self.ratio_a, *self.grid_a, rng=struck, official_ties=self.official_ties)
        return noise_a, noise_v


@dataclass(frozen=True)
class BatchBuilder:
    """Builds the batch of some clips in some epoch, the same on whatever host and in whatever order it is asked."""

    clips: Sequence[ClipRecord]
    fbank: FbankSettings
    image_size: int
    seed: int
    augmentation: Augmentation
    targets: np.ndarray | None = None  # [N, C]
    masks: MaskSettings | None = None
    mixup: float = 0.0
    middle_frame: bool = False  # the frame of validation, instead of a drawn one

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Read, decode and draw for the clips at `indices`, which may be none."""
        if not indices:
            return TrainBatch.empty()
        own = [self._draw(index, epoch) for index in indices]
        raw = self._collate([(index, item.frame) for index, item in zip(indices, own, strict=True)])
        batch = TrainBatch(
            clips=[self.clips[index] for index in indices], raw=raw, draws=Draws.stack([item.draws for item in own])
        )
        extra: dict[str, Tensor | RawBatch] = {}
        if self.targets is not None:
            extra["targets"] = torch.from_numpy(self.targets[list(indices)])
        if self.masks is not None:
            extra["noise_a"] = torch.cat([item.noise_a for item in own if item.noise_a is not None])
            extra["noise_v"] = torch.cat([item.noise_v for item in own if item.noise_v is not None])
        if self.mixup > 0:
            # an unmixed clip is its own partner: weight 1 leaves it as it is
            partners = [item.partner if item.weight < 1 else index for index, item in zip(indices, own, strict=True)]
            extra["partner"] = self._collate([(index, item.partner_frame) for index, item in zip(partners, own, strict=True)])
            extra["weight"] = torch.tensor([item.weight for item in own], dtype=torch.float32)
            if self.targets is not None:
                extra["partner_targets"] = torch.from_numpy(self.targets[partners])
        return TrainBatch(**{**batch.__dict__, **extra})

    def _draw(self, index: int, epoch: int) -> "_ClipDraw":
        rng = clip_rng(self.seed, epoch, self.clips[index].video_id)
        frame, partner_frame = rng.random(2)
        mixed = rng.random() < self.mixup
        weight = float(rng.beta(MIXUP_ALPHA, MIXUP_ALPHA)) if mixed else 1.0
        partner = int(rng.integers(len(self.clips)))
        draws = draw(rng, self.augmentation, self.fbank.target_length, self.fbank.num_mel_bins)
        noise_a, noise_v = self.masks.draw(rng) if self.masks is not None else (None, None)
        shown = 0.5 if self.middle_frame else float(frame)
        return _ClipDraw(shown, float(partner_frame), weight, partner, draws, noise_a, noise_v)

    def _collate(self, wanted: list[tuple[int, float]]) -> RawBatch:
        waveforms, frames = [], []
        contents = read_clips([self.clips[index] for index, _ in wanted])
        for (_, frame), members in zip(wanted, contents, strict=True):
            waveforms.append(decode_waveform(members))
            frames.append(decode_frame(members, int(frame * frame_count(members)), self.image_size))
        return RawBatch.collate(waveforms, frames, self.fbank)


@dataclass(frozen=True)
class _ClipDraw:
    frame: float  # in [0, 1): which of the clip's frames
    partner_frame: float
    weight: float
    partner: int
    draws: Draws
    noise_a: Tensor | None
    noise_v: Tensor | None
