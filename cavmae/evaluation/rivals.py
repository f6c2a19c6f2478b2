"""How many clips are nearer to a query than its own other half: exact, and counted block by block.

All similarities of N clips cost 2 N^2 D operations. They are taken in float32, twice as fast as float64, whose rounding is
bounded in whatever order a sum is taken (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1):

    |fl(x . y) - x . y| <= gamma_D |x| |y|,   gamma_n = n u / (1 - n u),   u = 2^-24

A clip whose similarity lies further than that from the right one's is decided. The few others are worked out in float64, so
the counts are those of float64, whatever the block, the kernels or the number of threads.
"""

from typing import NamedTuple

import numpy as np

from cavmae.evaluation.ranking import Array, FloatArray
from cavmae.evaluation.vectors import Vectors

BLOCK = 2048
AUDIO_TO_VIDEO, VIDEO_TO_AUDIO = WAYS = ("audio_to_video", "video_to_audio")
_TIE = 1e-9  # far above the rounding of a float64 product, far below the spacing of float32 embeddings' cosines
_MANY = 1 / 64  # in doubt, as a share of a block, above which the whole block is worked out in float64


class Ranks(NamedTuple):
    """For every query, how many other clips are more similar to it than the right one, and how many as similar: int64 [N]."""

    better: Array
    tied: Array

    @property
    def place(self) -> FloatArray:
        """The rank [N] of the right clip, from 1; the middle of the places that it shares with those that tie."""
        return np.asarray(1 + self.better + self.tied / 2, np.float64)


def count_rivals(audio: Array, video: Array, block: int = BLOCK) -> dict[str, Ranks]:
    """Return the ranks both ways under the similarity audio @ video.T of vectors [N, D] as they are."""
    return rank_both_ways(Vectors(audio, unit=False), Vectors(video, unit=False), block)


def rank_both_ways(audio: Vectors, video: Vectors, block: int = BLOCK) -> dict[str, Ranks]:
    """Return {audio_to_video, video_to_audio: ranks}, where row i of both is clip i.

    One product serves both directions: rows of similarity are audio queries, columns video queries. Memory is that of a few
    [block, block] arrays beside the vectors.
    """
    clips = len(audio)
    own = audio.own_products(video)
    better, not_worse = np.zeros((2, clips), np.int64), np.zeros((2, clips), np.int64)
    room = _Room(min(block, clips))
    for top in range(0, clips, block):
        for left in range(0, clips, block):
            sides = slice(top, min(top + block, clips)), slice(left, min(left + block, clips))
            for side, (query, counts) in enumerate(zip(sides, _count_block(audio, video, own, *sides, room), strict=True)):
                better[side, query] += counts.better
                not_worse[side, query] += counts.not_worse
    # the right clip is as similar as itself
    return {way: Ranks(better[side], not_worse[side] - better[side] - 1) for side, way in enumerate(WAYS)}


class _Counts(NamedTuple):
    """By query of one side of a block, how many of the other side are more similar than the right one, how many not less."""

    better: Array
    not_worse: Array


class _Room:
    """Memory of one block, used again for the next: fresh pages cost more than what is written to them."""

    def __init__(self, block: int) -> None:
        self._similarity = np.empty(block * block, np.float32)
        self._masks = np.empty((2, block * block), bool)

    def similarity(self, rows: int, columns: int) -> Array:
        """Room for float32 [rows, columns]."""
        return self._similarity[: rows * columns].reshape(rows, columns)

    def masks(self, rows: int, columns: int) -> Array:
        """Room for two masks [rows, columns]."""
        return self._masks[:, : rows * columns].reshape(2, rows, columns)


def _count_block(
    audio: Vectors, video: Vectors, own: FloatArray, rows: slice, columns: slice, room: _Room
) -> tuple[_Counts, _Counts]:
    """Count for the audio queries `rows` and the video queries `columns`; `own` [N] is the right clips' similarity."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    similarity = room.similarity(*shape)
    np.matmul(audio.single[rows], video.single[columns].T, out=similarity)
    slack = _TIE + _rounding(audio.single.shape[1]) * audio.longest * video.longest
    found = []
    for axis, query in ((1, rows), (0, columns)):
        # rounded outwards: what float32 cannot hold must not turn a doubt into a decision
        high = np.nextafter((own[query] + slack).astype(np.float32), np.float32(np.inf))
        low = np.nextafter((own[query] - slack).astype(np.float32), np.float32(-np.inf))
        above, doubt = room.masks(*shape)
        np.greater(similarity, np.expand_dims(high, axis), out=above)
        np.greater_equal(similarity, np.expand_dims(low, axis), out=doubt)
        np.logical_xor(above, doubt, out=doubt)
        if np.count_nonzero(doubt) > _MANY * shape[0] * shape[1]:
            return _count_exactly(audio.double(rows) @ video.double(columns).T, own[rows], own[columns])
        row, column = np.divmod(np.flatnonzero(doubt), shape[1])
        exact = audio.products(video, row + rows.start, column + columns.start)
        asked, sure = row if axis == 1 else column, _count(above, axis)
        right, width = own[query][asked], len(sure)
        better = np.bincount(asked[exact > right + _TIE], minlength=width)
        not_worse = np.bincount(asked[exact >= right - _TIE], minlength=width)
        found.append(_Counts(sure + better, sure + not_worse))
    return found[0], found[1]


def _count_exactly(similarity: FloatArray, of_rows: FloatArray, of_columns: FloatArray) -> tuple[_Counts, _Counts]:
    """Count in a block [rows, columns] of float64 similarities; `of_rows`, `of_columns` are those of the right clips."""
    rows, columns = (
        _Counts(_count(similarity > right + _TIE, axis), _count(similarity >= right - _TIE, axis))
        for axis, right in ((1, of_rows[:, None]), (0, of_columns[None, :]))
    )
    return rows, columns


def _count(mask: Array, axis: int) -> Array:
    """Count along an axis of a mask [rows, columns]."""
    if axis == 1:
        return np.asarray(np.count_nonzero(mask, axis=1), np.int64)
    # down the rows bytes are added, as long as a byte holds the sum: ten times as fast
    ones = mask.view(np.uint8)
    parts = [np.add.reduce(ones[at : at + 255], axis=0, dtype=np.uint8) for at in range(0, len(ones), 255)]
    return np.asarray(np.sum(parts, axis=0, dtype=np.int64), np.int64)


def _rounding(dimensions: int) -> float:
    """Largest error of a float32 product of two unit vectors that were rounded to float32 themselves."""
    terms = (dimensions + 4) * 2.0**-24
    return terms / (1 - terms)
