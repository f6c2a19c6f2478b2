"""Tiny models and clips for the tests of what is exported."""

from typing import Any

import numpy as np
import torch

from cavmae.features.front_end import RawBatch
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.folder import ModelConfig

SIZES = {
    "img_size": 32,
    "audio_length": 64,
    "num_mel_bins": 32,
    "patch_size": 16,
    "audio_patch_size": 16,
    "embed_dim": 16,
    "depth": 2,
    "modality_specific_depth": 1,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "decoder_embed_dim": 8,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
LABELS = [
    {"mid": "/m/1", "display_name": "Dog, barking"},
    {"mid": "/m/2", "display_name": 'A "bell"'},
    {"mid": "/m/3", "display_name": "Ü"},
]


def config(mode: str | None = "multimodal", single_label: bool = True, **sizes: Any) -> ModelConfig:
    """A classifier of three labels, or with mode None a pretrained model."""
    head = {"norm_pix_loss": True} if mode is None else {"mode": mode, "single_label": single_label, "labels": LABELS}
    clip = {"window_s": 0.655, "frames": 4, "frame_size": 32, "frame_index": "exact", "sample_rate": 16000}
    return ModelConfig.model_validate(
        {
            "kind": "pretrained" if mode is None else "classifier",
            "architecture": SIZES | sizes,
            "clip": clip,
            "normalisation": {"mean": -6.0, "std": 4.0},
            **head,
        }
    )


def network(config: ModelConfig) -> CAVMAE | CAVMAEFT:
    """The model with seeded weights that are large enough for every part to show in the outputs, norms and biases too."""
    torch.manual_seed(0)
    model = config.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


def clips(config: ModelConfig, lengths: list[int], seed: int = 1) -> RawBatch:
    """Clips of the given lengths in samples: noise of changing level upon a constant, and noise for a picture."""
    rng = np.random.default_rng(seed)
    side = config.architecture.img_size
    waveforms = [(rng.normal(0, 2000, length) * np.linspace(1, 0.01, length) + 500).astype(np.int16) for length in lengths]
    frames = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in lengths]
    return RawBatch.collate(waveforms, frames, config.fbank)
