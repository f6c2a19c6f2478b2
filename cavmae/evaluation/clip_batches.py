"""Batches of clips as a model is run over them: waveforms, and none, one or all of the frames, each decoded once."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipRecord, Prefetch
from cavmae.dataset.records import decode_frame, decode_waveform, frame_count
from cavmae.features.front_end import RawBatch
from cavmae.models.folder import ModelConfig
from cavmae.stores import ahead

Frames = Literal["none", "middle", "all"]
Inputs = tuple[np.ndarray, np.ndarray]  # waveform int16 [S], frames uint8 [F, H, W, 3]
_NO_PICTURE = np.zeros((1, 1, 3), dtype=np.uint8)


def clip_batches(
    config: ModelConfig, clips: Sequence[ClipRecord], frames: Frames, batch_size: int, device: torch.device
) -> Iterator[tuple[RawBatch, Tensor]]:
    """Yield waveforms and frames uint8 [B, F, H, W, 3] on `device`; the middle frame alone makes F = 1, none F = 0.

    They are read and decoded ahead: for a GPU on as many threads as torch has, into pinned memory, from which they travel
    while the GPU works.
    """
    on_gpu = device.type == "cuda"

    def read(clip: ClipRecord) -> Inputs:
        return read_inputs(config, clip.members(), frames)

    def make(indices: Sequence[int]) -> tuple[RawBatch, Tensor]:
        chosen = [clips[index] for index in indices]
        # on a CPU the model needs the cores itself
        threads = max(chosen[0].shard.store.threads, torch.get_num_threads() if on_gpu else 1)
        raw, images = collate(config, list(ahead(read, chosen, threads)))
        return (pinned(raw), images.pin_memory()) if on_gpu else (raw, images)

    for raw, images in Prefetch(slices(len(clips), batch_size), make):
        yield raw.to(device), images.to(device, non_blocking=True)


def pinned(raw: RawBatch) -> RawBatch:
    """Return the batch in memory that a GPU fetches from by itself."""
    return RawBatch(raw.waveform.pin_memory(), raw.lengths.pin_memory(), raw.frames.pin_memory())


def slices(count: int, size: int) -> list[range]:
    """Cut 0 .. count-1 into ranges of `size`; the last may be smaller."""
    return [range(at, min(at + size, count)) for at in range(0, count, size)]


def read_inputs(config: ModelConfig, members: dict[str, bytes], frames: Frames) -> Inputs:
    """Return waveform int16 [S] and frames uint8 [F, H, W, 3] at the model's size of a clip's shard members."""
    count = frame_count(members)
    wanted = {"none": range(0), "middle": range(count // 2, count // 2 + 1), "all": range(count)}[frames]
    size = config.architecture.img_size
    pictures = [decode_frame(members, frame, size) for frame in wanted]
    return decode_waveform(members), np.stack(pictures) if pictures else np.zeros((0, size, size, 3), np.uint8)


def collate(config: ModelConfig, clips: Sequence[Inputs]) -> tuple[RawBatch, Tensor]:
    """Put waveforms and frames of clips together: a raw batch without pictures, and images uint8 [B, F, H, W, 3]."""
    waveforms, pictures = [list(column) for column in zip(*clips, strict=True)]
    return RawBatch.collate(waveforms, [_NO_PICTURE] * len(clips), config.fbank), torch.from_numpy(np.stack(pictures))
