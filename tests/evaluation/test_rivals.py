"""Ranks are those of float64, although nearly all is counted in float32, and memory does not grow with the square of N."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cavmae.evaluation import rivals
from cavmae.evaluation.rivals import VIDEO_TO_AUDIO, WAYS, Ranks, rank_both_ways
from cavmae.evaluation.vectors import Vectors, nearest


def plainly(audio: np.ndarray, video: np.ndarray, kind: type = np.float64) -> dict[str, Ranks]:
    """The ranks from all similarities at once."""
    audio, video = (side.astype(np.float64) for side in (audio, video))
    length = [np.linalg.norm(side, axis=1, keepdims=True) for side in (audio, video)]
    unit = [(side / np.where(norm > 0, norm, 1)).astype(kind) for side, norm in zip((audio, video), length, strict=True)]
    similarity = unit[0] @ unit[1].T
    found = {}
    for way, near in zip(WAYS, (similarity, similarity.T), strict=True):
        right = np.diagonal(near)[:, None]
        found[way] = Ranks((near > right + 1e-9).sum(1), (np.abs(near - right) <= 1e-9).sum(1) - 1)
    return found


def crowded(clips: int, dimensions: int, seed: int, kinds: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Clips around a few points, at distances from none to large: similarities that differ in every decimal place."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(kinds, dimensions))
    spread = 10.0 ** -random.integers(0, 14, (2, clips, 1)) * random.integers(0, 2, (2, clips, 1))
    which = random.integers(0, kinds, clips)
    audio, video = (points[which] + spread[side] * random.normal(size=(clips, dimensions)) for side in range(2))
    return audio, video


def same(found: dict[str, Ranks], wanted: dict[str, Ranks]) -> bool:
    return all(np.array_equal(one, other) for way in WAYS for one, other in zip(found[way], wanted[way], strict=True))


@given(seed=st.integers(0, 2**32 - 1), clips=st.integers(1, 60), block=st.integers(1, 70), kinds=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_ranks_are_exact_however_near_the_rivals_and_whatever_the_block(seed, clips, block, kinds):
    audio, video = crowded(clips, 24, seed, kinds)
    assert same(rank_both_ways(Vectors(audio), Vectors(video), block), plainly(audio, video))


def test_single_precision_alone_would_count_wrongly():
    audio, video = crowded(300, 24, seed=0)
    assert not same(plainly(audio, video, np.float32), plainly(audio, video))


def test_both_ways_out_of_doubt_are_taken(monkeypatch: pytest.MonkeyPatch):
    """A few entries are worked out singly, a block full of them as a whole."""
    wholes, singles = [], []
    whole, single = rivals._count_exactly, Vectors.products
    monkeypatch.setattr(rivals, "_count_exactly", lambda *words: (wholes.append(1), whole(*words))[1])
    monkeypatch.setattr(Vectors, "products", lambda self, *words: (singles.append(len(words[1])), single(self, *words))[1])
    random = np.random.default_rng(0)
    apart = random.normal(size=(2, 400, 64)).astype(np.float32)
    assert same(rank_both_ways(Vectors(apart[0]), Vectors(apart[1]), 100), plainly(*apart))
    assert not wholes and 400 < sum(singles) < 400 + 0.02 * 400**2 * 2
    alike = np.tile(random.normal(size=64), (300, 1))
    found = rank_both_ways(Vectors(alike), Vectors(alike), 100)
    assert len(wholes) == 9 and same(found, plainly(alike, alike)) and (found[VIDEO_TO_AUDIO].tied == 299).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_length_of_the_vectors_does_not_matter(scale: float):
    audio, video = np.random.default_rng(0).normal(size=(2, 90, 8)).astype(np.float32)
    audio[3] = 0
    assert same(rank_both_ways(Vectors(audio * np.float32(scale)), Vectors(video), 32), plainly(audio, video))


def test_memory_is_that_of_the_vectors_and_of_a_few_blocks():
    clips, block = 6000, 256
    audio, video = np.random.default_rng(0).normal(size=(2, clips, 16)).astype(np.float32)
    tracemalloc.start()
    try:
        rank_both_ways(Vectors(audio), Vectors(video), block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # all similarities would be 144 MB; once more the vectors, a few numbers a clip, and the room of one block
    assert peak < 2 * audio.nbytes + 30 * 8 * clips + 40 * block**2 < 6e6


@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_the_nearest_are_those_of_all_and_ties_stand_in_order(block: int):
    random = np.random.default_rng(0)
    gallery = random.integers(-1, 2, (100, 3)).astype(np.float32)  # 27 kinds: ties everywhere
    sides = Vectors(gallery)
    queries = sides.double(np.arange(20))
    numbers, near = nearest(queries, sides, 9, block)
    similarity = queries @ sides.double(slice(None)).T
    wanted = np.argsort(-similarity.round(9), axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(numbers, wanted)
    np.testing.assert_allclose(near, np.take_along_axis(similarity, wanted, axis=1), atol=1e-12)
    assert nearest(queries, sides, 200, block)[0].shape == (20, 100), "there are no more than there are"
