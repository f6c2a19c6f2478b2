"""Pictures as the model wants them."""

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise_images(frames: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] RGB -> float32 [B, 3, H, W], scaled to [0, 1], minus ImageNet mean, over ImageNet std."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=frames.device).view(3, 1, 1)
    if frames.device.type != "cpu" or not isinstance(frames.shape[0], int):  # a trace leaves the number of pictures open
        return _normalised(frames, mean, std)
    # one picture at a time, which then stays in the cache
    images = torch.empty(len(frames), 3, *frames.shape[1:3])
    for row, picture in enumerate(torch.split(frames, 1)):
        images[row] = _normalised(picture, mean, std)[0]
    return images


def _normalised(frames: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    images = frames.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return images.div_(255.0).sub_(mean).div_(std)


def denormalise_images(images: Tensor) -> Tensor:
    """float [B, 3, H, W] as `normalise_images` gives it -> uint8 [B, H, W, 3]."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return ((images * std + mean).clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
