"""What a device can do at most: the measured speed of one large matrix product."""

import time

import torch

_SIZES = {"cpu": (512, 3), "cuda": (8192, 10)}  # side of the matrices, repeats: 10 ms of a core, 20 ms of a GPU


def peak_flops(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of the fastest of some matrix products in a precision of training."""
    size, repeats = _SIZES[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    # equal numbers would let a GPU draw less power and run faster than it does in training
    left, right = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    fastest = float("inf")
    with torch.no_grad():
        for _ in range(repeats + 1):
            _settle(device)
            started = time.perf_counter()
            torch.mm(left, right)
            _settle(device)
            fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * size**3 / fastest


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
