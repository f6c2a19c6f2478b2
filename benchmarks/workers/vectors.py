"""Pairs of embeddings to retrieve by."""

import numpy as np


def pairs(seed: int, count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return audio and video float32 [count, width]: random directions, of which about half find their own again."""
    rng = np.random.Generator(np.random.Philox(key=[seed, count]))
    shared, *own = (rng.standard_normal((count, width), dtype=np.float32) for _ in range(3))
    # a pair's cosine then lies about where the largest of a few hundred strangers' does
    audio, video = (part + (3 / width**0.5) ** 0.5 * shared for part in own)
    return audio, video
