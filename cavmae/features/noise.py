"""Uniform noise made by hashing place and seed: the same numbers on a CPU and on a GPU, in whatever batch a clip stands.

Each pair of places gets one word, of which two times 15 bits become the two values: finer than noise of a tenth of a standard
deviation needs, and half the work. The hash is an exclusive or with the upper bits and a multiplication by an odd number, twice,
as in the finaliser of MurmurHash3 (Appleby 2011) with Wellons' constants (lowbias32, 2018), but modulo 2^31, so that no sign bit
is shifted.
"""

from functools import lru_cache

import torch
from torch import Tensor

_MODULO = 0x7FFFFFFF
_FIRST, _SECOND = 0x7FEB352D, 0x046CA68B  # the second without its highest bit, which the modulus cuts off
_HALF = 0x7FFF
_SCALE = 2.0**-15


def uniform_noise(seeds: Tensor, frames: int, bins: int) -> Tensor:
    """Values in [0, 1), float32 [B, frames, bins], for `seeds` int64 [B] from 0 to below 2^31."""
    pairs = (frames * bins + 1) // 2
    word = _places(pairs, seeds.device) ^ _mixed(seeds.to(torch.int32, copy=True)).unsqueeze(1)  # [B, pairs]
    word = _mixed(word)
    noise = torch.empty(len(seeds), 2, pairs, device=seeds.device)
    torch.mul(word & _HALF, _SCALE, out=noise[:, 0])
    torch.mul(word.bitwise_right_shift_(16), _SCALE, out=noise[:, 1])
    return noise.flatten(1)[:, : frames * bins].view(-1, frames, bins)


def _mixed(word: Tensor) -> Tensor:
    """Hash 31-bit words, in place."""
    for factor in (_FIRST, _SECOND):
        word ^= word >> 16
        word *= factor
        word &= _MODULO
    word ^= word >> 15
    return word


@lru_cache(maxsize=8)
def _places(pairs: int, device: torch.device) -> Tensor:
    """The places, spread over all 31 bits."""
    return torch.arange(1, pairs + 1, dtype=torch.int64, device=device).mul_(0x9E3779B1).bitwise_and_(_MODULO).to(torch.int32)
