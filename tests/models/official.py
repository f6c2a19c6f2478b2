"""State dicts as the original's classes and scripts write them, at tiny size, made from our own classes."""

from typing import Any

import torch
from torch import Tensor

from cavmae.models import CAVMAE, CAVMAEFT

# widths and depths that differ from each other, so that none can be mistaken for another
SIZES: dict[str, Any] = {
    "img_size": 48,
    "audio_length": 64,
    "embed_dim": 24,
    "depth": 4,
    "modality_specific_depth": 3,
    "num_heads": 3,
}
DECODER: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 2, "decoder_num_heads": 4}
# what the step is told, because shapes do not say it
TOLD: dict[str, Any] = {"num_heads": 3, "decoder_num_heads": 4, "window_s": 0.6}


def pretrained(seed: int = 0, **changes: Any) -> CAVMAE:
    torch.manual_seed(seed)
    model = CAVMAE(**(SIZES | DECODER | changes), norm_pix_loss=True)
    return _stirred(model)


def classifier(labels: int = 527, seed: int = 0, **changes: Any) -> CAVMAEFT:
    torch.manual_seed(seed)
    return _stirred(CAVMAEFT(labels, **(SIZES | changes)))


def _stirred(model: Any) -> Any:
    """Move everything that is drawn or fixed as 0 or 1, so that no two parameters are equal; tables stay as they are."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pos_embed" not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def parallel(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As DataParallel names them."""
    return {f"module.{key}": value for key, value in state.items()}


def adaptation_output(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As adapt_vmae_weights.py stores them: with the class token of the vision MAE, three times."""
    token = torch.randn(1, 1, SIZES["embed_dim"])
    return state | {key: token.clone() for key in ("cls_token_a", "cls_token_v", "cls_token_av")}
