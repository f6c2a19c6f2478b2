"""Pictures as the model wants them."""

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise_images(frames: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] RGB -> float32 [B, 3, H, W], scaled to [0, 1], minus ImageNet mean, over ImageNet std."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device)
    std = torch.tensor(IMAGENET_STD, device=frames.device)
    scaled = frames.to(torch.float32) / 255.0
    return ((scaled - mean) / std).permute(0, 3, 1, 2).contiguous()


def denormalise_images(images: Tensor) -> Tensor:
    """float [B, 3, H, W] as `normalise_images` gives it -> uint8 [B, H, W, 3]."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return ((images * std + mean).clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
