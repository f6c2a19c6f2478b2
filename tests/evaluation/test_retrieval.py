"""Retrieval: the official numbers, and chance for whoever knows nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.bootstrap import draw_weights
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, Ranks, count_rivals, figures, measure, rank_clips, retrieve

WAYS = {"audio_to_video": "a_to_b", "video_to_audio": "b_to_a"}


def test_official_numbers_are_reproduced_both_ways(golden: Path):
    expected = json.loads((golden / "metrics/expected.json").read_text())["retrieval"]
    arrays = np.load(golden / "metrics/arrays.npz")
    found = retrieve(arrays["retr_a"], arrays["retr_b"])
    for way, official in WAYS.items():
        assert found[way]["median_rank"] == expected[official]["MR"]
        for depth in (1, 5, 10):
            assert found[way][f"r{depth}"] == pytest.approx(expected[official][f"R{depth}"], abs=1e-12)


@pytest.mark.parametrize("clips", [1, 2, 80, 83])
@pytest.mark.parametrize("vector", [np.ones(7), np.zeros(7), np.linspace(-0.1, 0.3, 7, dtype=np.float32)])
def test_model_that_gives_every_clip_the_same_vector_scores_chance(clips, vector):
    same = np.tile(vector, (clips, 1))
    for way in retrieve(same, same, block=16).values():
        for depth in (1, 5, 10):
            assert way[f"r{depth}"] == pytest.approx(min(depth / clips, 1), abs=1e-12)
        assert way["chance_r1"] == 1 / clips
        assert way["median_rank"] == (clips + 1) / 2


def test_ties_share_places_by_default_and_are_entries_of_their_own_on_demand(golden: Path):
    """The fixture's official numbers have 307 rank entries for 60 queries, so they are recalls of no query in particular."""
    expected = json.loads((golden / "metrics/expected.json").read_text())["retrieval"]["ties"]
    similarity = np.load(golden / "metrics/arrays.npz")["retr_sim_rounded_with_ties"]
    ranks = count_rivals(similarity, np.eye(60), block=17)[AUDIO_TO_VIDEO]
    official = figures(ranks, official_ties=True)
    assert official["rank_entries"] == expected["n_rank_entries"] == 307
    assert official["median_rank"] == expected["result"]["MR"]
    for depth in (1, 5, 10):
        assert official[f"r{depth}"] == pytest.approx(expected["result"][f"R{depth}"], abs=1e-12)
    ours = figures(ranks)
    lots = np.random.default_rng(0).random((400, 60, 60)) * 1e-6
    order = np.argsort(-(similarity + lots), axis=2)
    place = (order == np.arange(60)[None, :, None]).argmax(axis=2)  # [400, 60], of the right clip, ties broken by lot
    for depth in (1, 5, 10):
        assert ours[f"r{depth}"] == pytest.approx((place < depth).mean(), abs=0.02)
    assert ours["median_rank"] == 4.75 and "rank_entries" not in ours


def test_without_ties_both_ways_of_counting_agree():
    audio, video = np.random.default_rng(0).normal(size=(2, 70, 5))
    ranks = rank_clips(audio, video)
    official = measure(ranks, replicates=50, official_ties=True)
    for way, ours in measure(ranks, replicates=50).items():
        assert official[way].pop("rank_entries") == 70
        assert official[way] == pytest.approx(ours)


def test_official_intervals_are_those_of_resampled_entries():
    random = np.random.default_rng(3)
    ranks = Ranks(random.integers(0, 30, 40), random.integers(0, 9, 40))
    weight = draw_weights(40, 200, seed=1)
    entries = [np.arange(low, low + more + 1) for low, more in zip(*ranks, strict=True)]
    resampled = [
        np.concatenate([np.tile(entry, int(times)) for entry, times in zip(entries, column, strict=True)]) for column in weight.T
    ]
    found = figures(ranks, weight, official_ties=True)
    wanted = {"r5": [(one < 5).mean() for one in resampled], "median_rank": [np.median(one) + 1 for one in resampled]}
    for name, values in wanted.items():
        assert [found[f"{name}_low"], found[f"{name}_high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_a_degenerate_model_costs_no_memory_for_its_ties():
    ranks = Ranks(np.zeros(200_000, np.int64), np.full(200_000, 199_999))
    found = figures(ranks, official_ties=True)  # 4e10 entries
    assert found["rank_entries"] == 200_000**2 and found["median_rank"] == 100_000.5


@given(seed=st.integers(0, 2**32 - 1), clips=st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_ties_count_as_the_mean_over_breaking_them_by_lot(seed, clips):
    random = np.random.default_rng(seed)
    audio, video = (np.eye(3)[random.integers(0, 3, clips)] for _ in range(2))  # cosines are 0 or 1: ties everywhere
    similarity = audio @ video.T
    hits, trials = 0, 2000
    for _ in range(trials):
        ranked = np.argsort(-(similarity + 1e-6 * random.random(similarity.shape)), axis=1)
        hits += (ranked[:, 0] == np.arange(clips)).sum()
    expected = hits / (trials * clips)
    assert retrieve(audio, video)["audio_to_video"]["r1"] == pytest.approx(expected, abs=0.05)


def test_result_does_not_depend_on_the_block():
    random = np.random.default_rng(0)
    audio, video = random.normal(size=(2, 90, 8)).round(1)
    assert retrieve(audio, video, block=7) == retrieve(audio, video, block=90) == retrieve(audio, video)


def test_directions_swap_with_the_arguments_and_length_does_not_matter():
    random = np.random.default_rng(1)
    audio = random.normal(size=(50, 6))
    video = audio + random.normal(size=(50, 6))
    found, swapped = retrieve(audio, video), retrieve(video * 3, audio * random.uniform(1, 9, (50, 1)))
    assert found["audio_to_video"] == swapped["video_to_audio"]
    assert found["video_to_audio"] == swapped["audio_to_video"]


def test_matching_halves_are_found_first():
    vectors = np.random.default_rng(0).normal(size=(40, 16))
    way = retrieve(vectors, vectors)["video_to_audio"]
    assert (way["r1"], way["median_rank"], way["chance_r1"]) == (1.0, 1.0, 1 / 40)


def test_bootstrap_over_queries_repeats_and_holds_the_estimate():
    random = np.random.default_rng(2)
    audio = random.normal(size=(60, 8))
    video = audio + 1.5 * random.normal(size=(60, 8))
    found = retrieve(audio, video, replicates=300, seed=5)
    assert found == retrieve(audio, video, replicates=300, seed=5)
    for way in found.values():
        for name in ("r1", "r5", "r10", "median_rank"):
            assert way[f"{name}_low"] <= way[name] <= way[f"{name}_high"]
        assert way["r5_low"] < way["r5_high"]


def test_vectors_that_are_not_finite_and_empty_splits_are_refused():
    broken = np.ones((3, 2))
    broken[1, 0] = np.inf
    with pytest.raises(StepFailed, match="not finite"):
        retrieve(np.ones((3, 2)), broken)
    with pytest.raises(InputError, match="no clip"):
        retrieve(np.zeros((0, 4)), np.zeros((0, 4)))
