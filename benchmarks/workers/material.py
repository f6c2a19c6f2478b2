"""What both sides of a training step are given: sizes, first weights, batches and mask noise, from numpy's generators alone.

Neither side hands anything to the other, and no version of torch decides what is drawn.
"""

import zlib
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

AUDIO_LENGTH, MELS, IMAGE, TOKENS_A, TOKENS_V = 1024, 128, 224, 512, 196
SIZES: dict[str, dict[str, int]] = {
    "base": {},
    # the same depth, so that every kind of block is there, in a twentieth of the width
    "small": {"embed_dim": 48, "num_heads": 4, "decoder_embed_dim": 32, "decoder_num_heads": 4, "decoder_depth": 2},
}
MASK_RATIO = 0.75
LOSSES = ("loss", "mae", "mae_a", "mae_v", "contrast")
# the hyper-parameters of the original's AudioSet pretraining
TRAINING: dict[str, Any] = {"lr": 5e-5, "weight_decay": 5e-7, "beta1": 0.95, "beta2": 0.999}
LOSS_WEIGHTS = {"mae": 1.0, "contrast": 0.01}


class Material(NamedTuple):
    """Log-mel [B, 1024, 128], pictures [B, 3, 224, 224] and mask noise [B, 512] and [B, 196], float32."""

    audio: Tensor
    images: Tensor
    noise_a: Tensor
    noise_v: Tensor

    def to(self, device: str) -> "Material":
        """Move to a device."""
        return Material(*(tensor.to(device) for tensor in self))


def batch(seed: int, number: int, clips: int) -> Material:
    """Batch `number`: waves in sound and picture with frequencies in common, under noise: there is something to learn."""
    rng = np.random.Generator(np.random.Philox(key=[seed, number]))
    rates = rng.uniform(1, 9, (clips, 2)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, (clips, 5)).astype(np.float32)
    audio = _waves(rates, phases[:, :2], AUDIO_LENGTH, MELS)  # [B, T, M]
    channels = [_waves(rates, phases[:, 2 + channel, None].repeat(2, axis=1), IMAGE, IMAGE) for channel in range(3)]
    images = np.stack(channels, axis=1)  # [B, 3, H, W]
    audio += 0.3 * rng.standard_normal(audio.shape, dtype=np.float32)
    images += 0.3 * rng.standard_normal(images.shape, dtype=np.float32)
    noise_a, noise_v = (rng.random((clips, tokens), dtype=np.float32) for tokens in (TOKENS_A, TOKENS_V))
    return Material(*map(torch.from_numpy, (audio, images, noise_a, noise_v)))


def _waves(rates: np.ndarray, phases: np.ndarray, high: int, wide: int) -> np.ndarray:
    """Products of a wave down and a wave across, [B, high, wide], of about unit variance."""
    turns = [2 * np.pi * np.arange(side, dtype=np.float32) / side for side in (high, wide)]
    down, across = (np.cos(rates[:, at, None] * turns[at] + phases[:, at, None]) for at in range(2))
    return np.asarray(2.0 * down[:, :, None] * across[:, None, :], np.float32)


def fill(model: nn.Module, seed: int) -> str:
    """Give every parameter but the positions numbers that its name decides; return a fingerprint of names and shapes.

    Matrices get Xavier's range, norms are near 1: neither zeros nor ones hide that one parameter is used for another.
    """
    described = []
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            described.append(f"{name} {tuple(parameter.shape)}")
            if "pos_embed" in name:
                continue
            rng = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())]))
            drawn = torch.from_numpy(rng.random(tuple(parameter.shape), dtype=np.float32)) * 2 - 1
            if parameter.ndim == 1:
                drawn = 1 + 0.1 * drawn if name.endswith("weight") else 0.05 * drawn
            elif "modality" in name or "token" in name:
                drawn = 0.02 * drawn
            else:
                drawn = drawn * (6 / (parameter.shape[0] + parameter[0].numel())) ** 0.5
            parameter.copy_(drawn)
    return f"{zlib.crc32(chr(10).join(described).encode()):08x}"


def as_floats(values: Any) -> dict[str, float]:
    """Return the losses, in the order of LOSSES, as numbers."""
    return {name: float(value) for name, value in zip(LOSSES, values, strict=True)}
