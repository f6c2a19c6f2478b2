"""Running a model over clips: class scores from one frame or all frames, and vectors for retrieval."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipRecord, Prefetch, read_clips
from cavmae.dataset.records import decode_frame, decode_waveform, frame_count
from cavmae.evaluation.embedding import Modality, encode
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.images import normalise_images
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, Mode
from cavmae.models.folder import ModelConfig
from cavmae.progress import Progress

Frames = Literal["middle", "all"]


def predict_clips(
    model: CAVMAEFT,
    config: ModelConfig,
    clips: Sequence[ClipRecord],
    mode: Mode,
    frames: Frames,
    batch_size: int,
    device: torch.device,
) -> np.ndarray:
    """Class probabilities float32 [N, C]: softmax for one label a clip, sigmoid for several.

    With `frames="all"` the probabilities of all frames of a clip are averaged; the audio stream runs once.
    """
    scores = []
    for raw, images in _batches(config, clips, frames, batch_size):
        scores.append(score_batch(model, config, raw.to(device), images.to(device), mode).cpu().numpy())
    return np.concatenate(scores)


def score_batch(model: CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, mode: Mode) -> Tensor:
    """Probabilities [B, C] of a raw batch whose frames are `images` uint8 [B, F, H, W, 3], averaged over F."""
    return score_frames(model, config, raw, images, mode).mean(dim=1)


@torch.no_grad()
def score_frames(model: CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, mode: Mode) -> Tensor:
    """Probabilities [B, F, C] of every frame of `images` uint8 [B, F, H, W, 3]; F is 1 where the mode sees no picture."""
    model.eval()
    front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
    audio = front_end.audio(raw) if "video" not in mode else None
    activate = torch.softmax if config.single_label else lambda logits, dim: torch.sigmoid(logits)
    if "audio" in mode:
        return activate(model(audio, None, mode).float(), dim=-1).unsqueeze(1)
    batch, count = images.shape[:2]
    pictures = normalise_images(images.flatten(0, 1))  # [B*F, 3, H, W]
    logits = model.frame_logits(audio, pictures, count, mode).view(batch, count, -1)
    return activate(logits.float(), dim=-1)


def embed_clips(
    model: CAVMAE | CAVMAEFT,
    config: ModelConfig,
    clips: Sequence[ClipRecord],
    batch_size: int,
    device: torch.device,
    frames: Frames = "middle",
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled vectors of sound and picture, float32 [N, D] each, from the unmasked single-modality passes.

    The picture is the middle frame, as in the original; with `frames="all"` its vector is the mean over those of all frames.
    """
    model.to(device)
    audio, video = [], []
    with Progress("embedding", len(clips)) as progress:
        for raw, images in _batches(config, clips, frames, batch_size):
            found = embed_batch(model, config, raw.to(device), images.to(device), ("audio", "video"), pooled=True)
            audio.append(found["audio"].cpu().numpy())
            video.append(found["video"].cpu().numpy())
            progress.advance(len(images))
    return np.concatenate(audio), np.concatenate(video)


def embed_batch(
    model: CAVMAE | CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, wanted: Collection[Modality], pooled: bool
) -> dict[Modality, Tensor]:
    """Features float32 of a raw batch whose frames are `images` uint8 [B, F, H, W, 3], as `encode` gives them."""
    model.eval()
    front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
    audio = front_end.audio(raw) if {"audio", "joint"} & set(wanted) else None
    pictures = None
    if {"video", "joint"} & set(wanted):
        flat = normalise_images(images.flatten(0, 1))  # [B*F, 3, H, W]
        pictures = flat.view(*images.shape[:2], *flat.shape[1:])
    found = encode(model, audio, pictures, wanted, pooled)
    return {modality: features.float() for modality, features in found.items()}


def _batches(
    config: ModelConfig, clips: Sequence[ClipRecord], frames: Frames, batch_size: int
) -> Iterator[tuple[RawBatch, Tensor]]:
    """Yield waveforms and frames uint8 [B, F, H, W, 3]; the middle frame alone makes F = 1."""

    def make(indices: Sequence[int]) -> tuple[RawBatch, Tensor]:
        return collate(
            config, [read_inputs(config, members, frames) for members in read_clips([clips[index] for index in indices])]
        )

    yield from Prefetch(slices(len(clips), batch_size), make)


def slices(count: int, size: int) -> list[range]:
    """Cut 0 .. count-1 into ranges of `size`; the last may be smaller."""
    return [range(at, min(at + size, count)) for at in range(0, count, size)]


def read_inputs(config: ModelConfig, members: dict[str, bytes], frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Return waveform int16 [S] and frames uint8 [F, H, W, 3] at the model's size of a clip's shard members."""
    count = frame_count(members)
    wanted = range(count) if frames == "all" else [count // 2]
    size = config.architecture.img_size
    return decode_waveform(members), np.stack([decode_frame(members, frame, size) for frame in wanted])


def collate(config: ModelConfig, clips: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[RawBatch, Tensor]:
    """Put waveforms and frames of clips together: a raw batch and images uint8 [B, F, H, W, 3]."""
    waveforms, pictures = [list(column) for column in zip(*clips, strict=True)]
    raw = RawBatch.collate(waveforms, [picture[0] for picture in pictures], config.fbank)
    return raw, torch.from_numpy(np.stack(pictures))
