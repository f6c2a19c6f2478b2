"""Linear layers on a CPU by oneDNN, whose float32 kernels outrun the BLAS that torch takes by default on some machines."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WORTH_IT = 1 << 24  # multiplications below which a call costs more than it gains


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """What `layer` makes of x, [..., in] -> [..., out], by the faster kernel where much float32 is to be multiplied on a CPU."""
    return project(x, layer.weight, layer.bias)


def project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear`: x [..., in], weight [out, in], bias [out] -> [..., out]."""
    if torch.compiler.is_compiling() or not _by_onednn(x, weight):
        return F.linear(x, weight, bias)
    out: Tensor = _OneDnnLinear.apply(x, weight, bias)
    return out


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and isinstance(numbers := x.numel(), int)  # not where a trace leaves the number of clips open, as for ONNX
        and numbers * len(weight) >= _WORTH_IT
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not torch.is_autocast_enabled("cpu")
    )


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """rows [R, in], weight [out, in] -> [R, out]."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        rows = x.reshape(-1, x.shape[-1])  # [R, in]
        return _product(rows, weight, bias).view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, len(weight))  # [R, out]
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t(), None).view_as(x) if by_x else None,
            # for this product the default kernels are as good
            gradient.t() @ x.reshape(-1, x.shape[-1]) if by_weight else None,
            gradient.sum(dim=0) if by_bias else None,
        )
