"""Confidence intervals: they score what was drawn, repeat with their seed, and cover what they say they cover."""

import numpy as np
import pytest

from cavmae.evaluation.bootstrap import confidence_intervals, draw_weights, interval, paired_difference
from cavmae.evaluation.metrics import MACRO, classification, macro_metrics


def some_scores(clips: int, strength: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = np.eye(4)[random.integers(0, 4, clips)]
    score = np.exp(random.normal(size=(clips, 4)) + strength * target)
    return target, score / score.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("single_label", [True, False])
def test_weighted_metrics_equal_metrics_of_the_clips_really_drawn(single_label):
    target, score = some_scores(30)
    weight = draw_weights(30, 20, seed=3)
    found = macro_metrics(target, score, single_label, weight)
    for replicate in range(20):
        drawn = np.repeat(np.arange(30), weight[:, replicate].astype(int))
        expected = classification(target[drawn], score[drawn], single_label)
        for name in MACRO:
            assert found[name][replicate] == pytest.approx(expected[name], abs=1e-12)


def test_each_replicate_draws_as_many_clips_as_there_are():
    weight = draw_weights(50, 200, seed=0)
    assert (weight.sum(axis=0) == 50).all()
    assert weight.mean(axis=1) == pytest.approx(np.ones(50), abs=0.35)


def test_clips_of_one_group_are_drawn_together():
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    weight = draw_weights(6, 100, seed=0, groups=groups)
    for name in "abc":
        rows = weight[groups == name]
        assert (rows == rows[0]).all()


def test_groups_widen_the_interval_when_clips_repeat_each_other():
    target, score = some_scores(40)
    target, score, groups = np.repeat(target, 5, axis=0), np.repeat(score, 5, axis=0), np.repeat(np.arange(40), 5)
    low, high = confidence_intervals(target, score, True, 500, seed=0)["accuracy"]
    low_grouped, high_grouped = confidence_intervals(target, score, True, 500, seed=0, groups=groups)["accuracy"]
    assert high_grouped - low_grouped > 1.7 * (high - low)  # sqrt(5) = 2.2 in the limit


def test_same_seed_same_interval_other_seed_another():
    target, score = some_scores(60)
    first = confidence_intervals(target, score, True, 300, seed=1)
    assert first == confidence_intervals(target, score, True, 300, seed=1)
    assert first != confidence_intervals(target, score, True, 300, seed=2)


def test_interval_holds_the_estimate_and_d_prime_follows_its_area():
    target, score = some_scores(80)
    point = classification(target, score, True)
    found = confidence_intervals(target, score, True, 500, seed=0)
    assert set(found) == {*MACRO, "d_prime"}
    for name, (low, high) in found.items():
        assert low < point[name] < high


def test_accuracy_interval_covers_the_truth_about_as_often_as_its_level():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        right = random.random(100) < 0.7
        target = np.tile([1.0, 0.0], (100, 1))
        score = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
        low, high = confidence_intervals(target, score, True, 200, seed=trial, level=0.9)["accuracy"]
        covered += low <= 0.7 <= high
    assert 0.83 <= covered / 200 <= 0.97


def test_metric_that_no_replicate_defines_has_no_interval():
    target = np.tile([1.0, 0.0], (10, 1))  # all clips have one label: no AUC
    found = confidence_intervals(target, np.tile([0.6, 0.4], (10, 1)), True, 20, seed=0)
    assert "mAUC" not in found and "d_prime" not in found
    assert interval(np.full(5, np.nan), 0.95) is None


def test_difference_of_a_model_with_itself_is_exactly_zero():
    target, score = some_scores(50)
    for row in paired_difference(target, score, score, True, 100, seed=0).values():
        assert row == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_paired_interval_is_narrower_than_that_of_independent_models():
    target, score = some_scores(200)
    better = 0.9 * score + 0.1 * target
    paired = paired_difference(target, better, score, True, 500, seed=0)["mAP"]
    one, other = (confidence_intervals(target, s, True, 500, seed=0)["mAP"] for s in (better, score))
    assert 0 < paired["low"] < paired["difference"] < paired["high"]
    assert paired["high"] - paired["low"] < 0.5 * np.hypot(one[1] - one[0], other[1] - other[0])
