"""Running a model over clips: class scores from one frame or all frames, and vectors for retrieval."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipRecord
from cavmae.evaluation.clip_batches import Frames, clip_batches, slices
from cavmae.evaluation.embedding import Modality, encode, parts_of
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.images import normalise_images
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, SEES, Mode
from cavmae.models.folder import ModelConfig
from cavmae.progress import Progress

__all__ = ["Frames", "embed_clips", "predict_clips", "predict_modes", "slices"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class ModeScores:
    """Class probabilities float32 [N, C] in one mode: the mean over all frames, and those of the middle frame."""

    mean: np.ndarray
    middle: np.ndarray


def predict_clips(
    model: CAVMAEFT,
    config: ModelConfig,
    clips: Sequence[ClipRecord],
    mode: Mode,
    frames: Frames,
    batch_size: int,
    device: torch.device,
    precision: Precision = "float32",
) -> np.ndarray:
    """Class probabilities float32 [N, C]: softmax for one label a clip, sigmoid for several.

    With `frames="all"` the probabilities of all frames of a clip are averaged; the audio stream runs once.
    """
    return predict_modes(model, config, clips, (mode,), frames, batch_size, device, precision)[mode].mean


def predict_modes(
    model: CAVMAEFT,
    config: ModelConfig,
    clips: Sequence[ClipRecord],
    modes: Sequence[Mode],
    frames: Frames,
    batch_size: int,
    device: torch.device,
    precision: Precision = "float32",
) -> dict[Mode, ModeScores]:
    """Return the scores in several modes of one pass over the clips.

    Every clip is read once, its sound decoded, turned into log-mel and streamed once, and each of its frames decoded and
    streamed once, for all frames and all modes; what sees both is run for each frame. Frames are not decoded where no mode
    sees them.
    """
    shown: Frames = frames if any("v" in SEES[mode] for mode in modes) else "none"
    means: dict[Mode, list[np.ndarray]] = {mode: [] for mode in modes}
    middles: dict[Mode, list[np.ndarray]] = {mode: [] for mode in modes}
    for raw, images in clip_batches(config, clips, shown, batch_size, device):
        for mode, scores in score_modes(model, config, raw, images, modes, precision).items():
            means[mode].append(scores.mean(dim=1).cpu().numpy())
            middles[mode].append(scores[:, scores.shape[1] // 2].cpu().numpy())
    return {mode: ModeScores(np.concatenate(means[mode]), np.concatenate(middles[mode])) for mode in modes}


def score_batch(model: CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, mode: Mode) -> Tensor:
    """Probabilities [B, C] of a raw batch whose frames are `images` uint8 [B, F, H, W, 3], averaged over F."""
    return score_frames(model, config, raw, images, mode).mean(dim=1)


def score_frames(
    model: CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, mode: Mode, precision: Precision = "float32"
) -> Tensor:
    """Probabilities [B, F, C] of every frame of `images` uint8 [B, F, H, W, 3]; F is 1 where the mode sees no picture."""
    return score_modes(model, config, raw, images, (mode,), precision)[mode]


@torch.no_grad()
def score_modes(
    model: CAVMAEFT, config: ModelConfig, raw: RawBatch, images: Tensor, modes: Sequence[Mode], precision: Precision = "float32"
) -> dict[Mode, Tensor]:
    """Probabilities float32 [B, F, C] by mode, as `score_frames`; tokens of one modality serve all modes and frames."""
    model.eval()
    seen = {modality for mode in modes for modality in SEES[mode]}
    device = raw.waveform.device
    mel = _log_mel(config, raw) if "a" in seen else None
    logits: dict[Mode, list[Tensor]] = {mode: [] for mode in modes}
    with autocast(device, precision):
        audio = model.encode_audio(mel) if mel is not None else None  # [B, La, D]
        for mode in modes:
            if "v" not in SEES[mode]:
                logits[mode].append(model.forward_from(audio, None, mode).unsqueeze(1))
        for part in parts_of(images) if "v" in seen else ():
            video = model.encode_video(normalise_images(part.flatten(0, 1)))  # [B*f, Lv, D]
            for mode in modes:
                if "v" in SEES[mode]:
                    logits[mode].append(model.forward_from(audio, video, mode).view(*part.shape[:2], -1))
    activate: Callable[..., Tensor] = torch.softmax if config.single_label else lambda values, dim: torch.sigmoid(values)
    return {mode: activate(torch.cat(parts, dim=1).float(), dim=-1) for mode, parts in logits.items()}


def embed_clips(
    model: CAVMAE | CAVMAEFT,
    config: ModelConfig,
    clips: Sequence[ClipRecord],
    batch_size: int,
    device: torch.device,
    frames: Frames = "middle",
    precision: Precision = "float32",
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled vectors of sound and picture, float32 [N, D] each, from the unmasked single-modality passes.

    The picture is the middle frame, as in the original; with `frames="all"` its vector is the mean over those of all frames.
    """
    model.to(device)
    audio, video = [], []
    with Progress("embedding", len(clips)) as progress:
        for raw, images in clip_batches(config, clips, frames, batch_size, device):
            found = embed_batch(model, config, raw, images, ("audio", "video"), pooled=True, precision=precision)
            audio.append(found["audio"].cpu().numpy())
            video.append(found["video"].cpu().numpy())
            progress.advance(len(images))
    return np.concatenate(audio), np.concatenate(video)


def embed_batch(
    model: CAVMAE | CAVMAEFT,
    config: ModelConfig,
    raw: RawBatch,
    images: Tensor,
    wanted: Collection[Modality],
    pooled: bool,
    precision: Precision = "float32",
) -> dict[Modality, Tensor]:
    """Features float32 of a raw batch whose frames are `images` uint8 [B, F, H, W, 3], as `encode` gives them."""
    model.eval()
    mel = _log_mel(config, raw) if {"audio", "joint"} & set(wanted) else None
    pictures = None
    if {"video", "joint"} & set(wanted):
        flat = normalise_images(images.flatten(0, 1))  # [B*F, 3, H, W]
        pictures = flat.view(*images.shape[:2], *flat.shape[1:])
    with autocast(raw.waveform.device, precision):
        found = encode(model, mel, pictures, wanted, pooled)
    return {modality: features.float() for modality, features in found.items()}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 where that is the precision; weights and sums stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _log_mel(config: ModelConfig, raw: RawBatch) -> Tensor:
    """Normalised log-mel [B, T, M], in float32 whatever precision the model runs in."""
    return FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std).audio(raw)
