"""The gallery: which queries it shows, what it says of ties, and that it is the same page for the same clips."""

import io

import numpy as np
import pytest
from PIL import Image

from cavmae.dataset.loader import ClipSet
from cavmae.evaluation.gallery import ClipView, Gallery, choose_queries, search, view_clips
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, VIDEO_TO_AUDIO, WAYS, Ranks, measure, rank_clips
from tests.evaluation.test_report import HOSTILE
from tests.training.tiny import tiny


def ranks_of(*better: int) -> Ranks:
    return Ranks(np.array(better), np.zeros(len(better), np.int64))


def some_gallery(clips: int = 8, queries: int = 5, label: str = HOSTILE) -> Gallery:
    random = np.random.default_rng(0)
    audio = random.normal(size=(clips, 6))
    video = audio + random.normal(size=(clips, 6))
    ranks = rank_clips(audio, video)
    searches = {way: search(way, audio, video, ranks[way], queries, seed=0) for way in WAYS}
    views = {}
    for clip in range(clips):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(buffer, "JPEG")
        wave = random.integers(-3000, 3000, 8000).astype(np.int16)
        views[clip] = ClipView(f"id-{clip}", (label, "Ünï→漢"), buffer.getvalue(), wave, 16000)
    return Gallery("test", clips, HOSTILE, 0.95, False, measure(ranks, 20), searches, views)


def test_best_and_worst_and_a_seeded_lot_are_shown() -> None:
    ranks = ranks_of(5, 0, 3, 0, 9, 1, 4, 2, 8)
    similarity = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    chosen = choose_queries(ranks, similarity, 5, seed=0)
    assert [kind for kind, _ in chosen] == ["best", "best", "random", "worst", "worst"]
    assert [clip for _, clip in chosen[:2]] == [3, 1], "of two first places the more similar one leads"
    assert [clip for _, clip in chosen[-2:]] == [8, 4]
    assert chosen == choose_queries(ranks, similarity, 5, seed=0)
    assert len({choose_queries(ranks, similarity, 5, seed)[2] for seed in range(20)}) == 5


@pytest.mark.parametrize(("clips", "count"), [(1, 9), (2, 9), (3, 9), (9, 9), (9, 1), (9, 2), (9, 0), (100, 10)])
def test_no_query_stands_there_twice_however_few_there_are(clips: int, count: int) -> None:
    chosen = [clip for _, clip in choose_queries(ranks_of(*range(clips)), np.zeros(clips), count, seed=1)]
    assert len(chosen) == len(set(chosen)) == min(clips, count)


def test_hits_come_nearest_first_and_the_rank_is_that_of_the_right_clip() -> None:
    random = np.random.default_rng(0)
    audio = random.normal(size=(12, 4))
    video = audio + random.normal(size=(12, 4))
    ranks = rank_clips(audio, video)
    cosine = (audio / np.linalg.norm(audio, axis=1, keepdims=True)) @ (video / np.linalg.norm(video, axis=1, keepdims=True)).T
    for way, similarity in ((AUDIO_TO_VIDEO, cosine), (VIDEO_TO_AUDIO, cosine.T)):
        for one in search(way, audio, video, ranks[way], 12, seed=0):
            wanted = np.argsort(-similarity[one.clip])
            assert [hit.clip for hit in one.hits] == wanted[:5].tolist()
            assert [hit.similarity for hit in one.hits] == pytest.approx(similarity[one.clip][wanted[:5]])
            assert wanted[one.rank - 1] == one.clip and one.tied == 0
            assert one.similarity == pytest.approx(similarity[one.clip, one.clip])


def test_ties_are_told() -> None:
    same = np.ones((7, 3))
    (one,) = search(AUDIO_TO_VIDEO, same, same, rank_clips(same, same)[AUDIO_TO_VIDEO], 1, seed=0)
    assert (one.rank, one.tied) == (1, 6) and [hit.clip for hit in one.hits] == [0, 1, 2, 3, 4]


def test_views_are_of_the_clips_that_occur_and_no_others() -> None:
    data = ClipSet(tiny().dataset)
    clips = data.split("test")
    found = some_gallery().searches[AUDIO_TO_VIDEO][:1]
    views = view_clips(found, clips, [label.display_name for label in data.labels], 16000)
    assert set(views) == {found[0].clip, *(hit.clip for hit in found[0].hits)}
    for number, view in views.items():
        assert view.video_id == clips[number].video_id and view.frame == clips[number].members()["2.jpg"]
        assert view.labels == tuple(data.labels[index].display_name for index in clips[number].labels)
        assert view.log_mel.shape[1] == 64 and view.waveform.dtype == np.int16
