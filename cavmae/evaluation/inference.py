"""Running a model over clips: class scores from one frame or all frames, and vectors for retrieval."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipRecord, Prefetch
from cavmae.dataset.records import decode_frame, decode_waveform, frame_count
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.images import normalise_images
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, Mode
from cavmae.models.folder import ModelConfig

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


@torch.no_grad()
def score_batch(model: CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, mode: Mode) -> Tensor:
    """Probabilities [B, C] of a raw batch whose frames are `images` uint8 [B, F, H, W, 3], averaged over F."""
    model.eval()
    front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
    audio = front_end.audio(raw) if "video" not in mode else None
    activate = torch.softmax if config.single_label else lambda logits, dim: torch.sigmoid(logits)
    if "audio" in mode:
        return activate(model(audio, None, mode).float(), dim=-1)
    batch, count = images.shape[:2]
    pictures = normalise_images(images.flatten(0, 1))  # [B*F, 3, H, W]
    logits = model.frame_logits(audio, pictures, count, mode).view(batch, count, -1)
    return activate(logits.float(), dim=-1).mean(dim=1)


@torch.no_grad()
def embed_clips(
    model: CAVMAE | CAVMAEFT, config: ModelConfig, clips: Sequence[ClipRecord], batch_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled vectors of sound and of the middle frame, float32 [N, D] each, from the unmasked single-modality passes."""
    model.to(device).eval()
    front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
    audio, video = [], []
    for raw, images in _batches(config, clips, "middle", batch_size):
        moved = raw.to(device)
        a, v = model.forward_feat(front_end.audio(moved), normalise_images(images.to(device)[:, 0]))
        audio.append(a.mean(dim=1).float().cpu().numpy())
        video.append(v.mean(dim=1).float().cpu().numpy())
    return np.concatenate(audio), np.concatenate(video)


def _batches(
    config: ModelConfig, clips: Sequence[ClipRecord], frames: Frames, batch_size: int
) -> Iterator[tuple[RawBatch, Tensor]]:
    """Yield waveforms and frames uint8 [B, F, H, W, 3]; the middle frame alone makes F = 1."""
    size = config.architecture.img_size

    def make(indices: Sequence[int]) -> tuple[RawBatch, Tensor]:
        waveforms, pictures = [], []
        for index in indices:
            members = clips[index].members()
            count = frame_count(members)
            wanted = range(count) if frames == "all" else [count // 2]
            waveforms.append(decode_waveform(members))
            pictures.append(np.stack([decode_frame(members, frame, size) for frame in wanted]))
        raw = RawBatch.collate(waveforms, [picture[0] for picture in pictures], config.fbank)
        return raw, torch.from_numpy(np.stack(pictures))

    slices = [range(at, min(at + batch_size, len(clips))) for at in range(0, len(clips), batch_size)]
    yield from Prefetch(slices, make)
