"""A gallery of retrieval: some queries of each direction, and the clips that the model held to be nearest to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from cavmae.dataset.loader import ClipRecord
from cavmae.dataset.records import decode_waveform, frame_count
from cavmae.evaluation.examples import log_mel_to_see
from cavmae.evaluation.ranking import Array, FloatArray
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, Ranks
from cavmae.evaluation.vectors import Vectors, nearest

SHOWN_HITS = 5
Kind = Literal["best", "random", "worst"]
KINDS: tuple[Kind, ...] = ("best", "random", "worst")


@dataclass(frozen=True)
class Hit:
    """One found clip: its number, and its cosine similarity to the query."""

    clip: int
    similarity: float


@dataclass(frozen=True)
class Search:
    """One query: why it is shown, its right clip's rank (1 is first, with `tied` more at the same place), its nearest clips."""

    kind: Kind
    clip: int
    rank: int
    tied: int
    similarity: float  # to the right clip
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class ClipView:
    """A clip as the gallery shows it: the middle frame as JPEG bytes, and its waveform int16 [S]."""

    video_id: str
    labels: tuple[str, ...]
    frame: bytes
    waveform: Array
    sample_rate: int

    @cached_property
    def log_mel(self) -> Array:
        """Log-mel [T, 64] of the whole clip."""
        return log_mel_to_see(self.waveform, self.sample_rate)[0]


@dataclass(frozen=True)
class Gallery:
    """What the sheets and the page show: figures and searches by direction, and every clip that occurs, by its number."""

    split: str
    clips: int
    model: str
    level: float
    official_ties: bool
    figures: dict[str, dict[str, float]]
    searches: dict[str, list[Search]]
    views: dict[int, ClipView]


def choose_queries(ranks: Ranks, similarity: FloatArray, count: int, seed: int) -> list[tuple[Kind, int]]:
    """Return `count` queries of one direction: a third where the right clip came first, a third where last, the rest by lot.

    Queries are ordered by the right clip's rank, then by its `similarity` [N]; the lot depends on `seed` alone. Each part
    comes in that order, the worst last.
    """
    order = [int(n) for n in np.lexsort((-similarity, ranks.place))]
    count = min(count, len(order))
    third = (count + 1) // 3
    best, worst = order[:third], order[len(order) - third :]
    rest = order[third : len(order) - third]
    drawn = np.random.default_rng(seed).permutation(len(rest))[: count - 2 * third].tolist()
    chosen = {"best": best, "random": [rest[at] for at in sorted(drawn)], "worst": worst}
    return [(kind, clip) for kind in KINDS for clip in chosen[kind]]


def search(way: str, audio: Array, video: Array, ranks: Ranks, count: int, seed: int) -> list[Search]:
    """Return `count` searches of one direction among `audio` and `video` [N, D]; hits that tie stand in the order of the data."""
    queries, found = (Vectors(audio), Vectors(video)) if way == AUDIO_TO_VIDEO else (Vectors(video), Vectors(audio))
    own = queries.own_products(found)
    chosen = choose_queries(ranks, own, count, seed)
    nearest_hits = nearest(queries.double(np.array([clip for _, clip in chosen], np.int64)), found, SHOWN_HITS)
    searches = []
    for (kind, clip), numbers, similarity in zip(chosen, *nearest_hits, strict=True):
        hits = tuple(Hit(int(n), float(near)) for n, near in zip(numbers, similarity, strict=True))
        place = int(ranks.better[clip]) + 1
        searches.append(Search(kind, clip, place, int(ranks.tied[clip]), float(own[clip]), hits))
    return searches


def view_clips(
    searches: Sequence[Search], clips: Sequence[ClipRecord], labels: Sequence[str], sample_rate: int
) -> dict[int, ClipView]:
    """Return what is seen and heard of every clip that occurs in `searches`; `labels` are the names by index."""
    numbers = {search.clip for search in searches} | {hit.clip for search in searches for hit in search.hits}
    views = {}
    for number in sorted(numbers):
        clip = clips[number]
        members = clip.members()
        names = tuple(labels[index] for index in clip.labels)
        frame = members[f"{frame_count(members) // 2}.jpg"]
        views[number] = ClipView(clip.video_id, names, frame, decode_waveform(members), sample_rate)
    return views
