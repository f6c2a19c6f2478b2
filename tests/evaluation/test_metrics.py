"""Classification metrics: the official numbers, scikit-learn's on ties, and what is not defined."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.metrics import classification, d_prime
from cavmae.evaluation.ranking import average_precision_and_auc
from cavmae.evaluation.summary import summarise
from cavmae.storage import to_json

EXACT = 1e-12  # float64 sums of a few dozen terms; the golden README asks for this


@pytest.fixture(scope="module")
def official(golden: Path) -> tuple[dict[str, Any], Any]:
    return json.loads((golden / "metrics/expected.json").read_text()), np.load(golden / "metrics/arrays.npz")


def test_official_numbers_of_a_multi_label_set_are_reproduced(official):
    expected, arrays = official[0]["calculate_stats"], official[1]
    found = classification(arrays["target"], arrays["output"], single_label=False)
    assert found["mAP"] == pytest.approx(expected["mAP"], abs=EXACT)
    assert found["mAUC"] == pytest.approx(expected["mAUC"], abs=EXACT)
    assert found["d_prime"] == pytest.approx(expected["d_prime_of_mAUC"], abs=EXACT)
    assert [row["AP"] for row in found["per_class"]] == pytest.approx(expected["AP"], abs=EXACT)
    assert [row["AUC"] for row in found["per_class"]] == pytest.approx(expected["auc"], abs=EXACT)


def test_official_accuracy_is_argmax_against_argmax(official):
    expected, arrays = official
    for single_label, official in ((True, False), (False, True)):
        found = classification(arrays["target"], arrays["output"], single_label, official)
        assert found["accuracy"] == expected["calculate_stats"]["acc"]
    assert classification(arrays["target"], arrays["output"], False)["accuracy"] > expected["calculate_stats"]["acc"]
    found = classification(arrays["single_target"], arrays["single_output"], single_label=True)
    assert found["accuracy"] == expected["single_label"]["acc"]
    assert found["mAP"] == pytest.approx(expected["single_label"]["mAP"], abs=EXACT)


def test_class_without_positives_is_left_out_of_the_means_and_counted(official):
    expected, arrays = official[0]["calculate_stats_class7_without_positive"], official[1]
    found = classification(arrays["target_no_positive_in_7"], arrays["output"], single_label=False)
    assert found["classes_without_positives"] == 1
    assert found["mAP"] == pytest.approx(expected["mAP_19"], abs=EXACT)
    # The official mean counts the empty class as 0, with the older scikit-learn its AUC even as -1.
    assert found["mAP"] * 19 / 20 == pytest.approx(expected["mAP_all"], abs=EXACT)
    assert (found["mAUC"] * 19 - 1) / 20 == pytest.approx(expected["with_sklearn_1.2.2"]["mAUC_all"], abs=EXACT)
    counted = classification(arrays["target_no_positive_in_7"], arrays["output"], single_label=False, official=True)
    assert counted["mAP"] == pytest.approx(expected["mAP_all"], abs=EXACT)
    assert counted["mAUC"] == pytest.approx(expected["with_sklearn_1.2.2"]["mAUC_all"], abs=EXACT)
    empty = found["per_class"][7]
    assert (empty["AP"], empty["AUC"], empty["recall"], empty["support"]) == (None, None, None, 0)
    to_json(found)  # raises where a NaN is left


@given(data=st.data(), clips=st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_ranking_equals_scikit_learn_with_ties_and_repeated_clips(data, clips):
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=clips, max_size=clips)))
    score = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=clips, max_size=clips)))
    weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=clips, max_size=clips)))
    drawn = np.repeat(np.arange(clips), weight)
    (precision,), (auc,) = average_precision_and_auc(positive, score, weight[:, None].astype(np.float32))
    some, all_ = positive[drawn].any(), positive[drawn].all()
    if some:
        assert precision == pytest.approx(sklearn_metrics.average_precision_score(positive[drawn], score[drawn]), abs=EXACT)
    else:
        assert math.isnan(precision)
    if some and not all_:
        assert auc == pytest.approx(sklearn_metrics.roc_auc_score(positive[drawn], score[drawn]), abs=EXACT)
    else:
        assert math.isnan(auc)


@pytest.mark.parametrize("single_label", [True, False])
def test_precision_recall_f1_equal_scikit_learn(single_label):
    random = np.random.default_rng(0)
    score = random.random((60, 5))
    target = np.eye(5)[random.integers(0, 5, 60)] if single_label else (random.random((60, 5)) < 0.4).astype(float)
    predicted = np.eye(5)[score.argmax(axis=1)] if single_label else score >= 0.5
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        target, predicted, average="macro", zero_division=0
    )
    found = classification(target, score, single_label)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((precision, recall, f1), abs=EXACT)


def test_accuracy_of_several_labels_asks_whether_the_first_answer_is_one_of_them():
    target = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]])
    score = np.array([[0.2, 0.9, 0.1], [0.8, 0.1, 0.7], [0.9, 0.1, 0.1]])
    assert classification(target, score, single_label=False)["accuracy"] == pytest.approx(1 / 3)


def test_d_prime_of_known_areas_and_none_where_it_is_infinite(official):
    for area, expected in official[0]["d_prime"].items():
        assert d_prime(float(area)) == pytest.approx(expected, abs=EXACT)
    assert (d_prime(1.0), d_prime(0.0), d_prime(None)) == (None, None, None)


def test_scores_that_are_not_finite_stop_the_work():
    score = np.array([[0.5, np.nan], [0.1, 0.2]])
    with pytest.raises(StepFailed, match="1 of 2 clips"):
        classification(np.eye(2), score, single_label=True)


def test_empty_split_is_an_error_of_the_user_and_wrong_shapes_are_not():
    with pytest.raises(InputError, match="no clip"):
        classification(np.zeros((0, 3)), np.zeros((0, 3)), single_label=True)
    with pytest.raises(ValueError, match="one shape"):
        classification(np.eye(3), np.eye(2), single_label=True)


def test_summary_holds_finite_numbers_only_even_for_a_perfect_model():
    target = np.eye(4)[np.arange(20) % 4]
    found = summarise(target, target, True, replicates=50, seed=0, single_frame_score=target)
    numbers = [value for value in found.values() if not isinstance(value, dict)] + list(found["single_frame"].values())
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in numbers)
    assert found["accuracy"] == found["accuracy_low"] == found["single_frame"]["mAP"] == 1.0
    assert "d_prime" not in found


def test_summary_and_its_intervals_count_as_asked():
    random = np.random.default_rng(0)
    target, score = np.eye(5)[np.arange(20) % 4], random.random((20, 5))  # no clip has the fifth label
    ours = summarise(target, score, False, 50, 0, single_frame_score=score)
    official = summarise(target, score, False, 50, 0, single_frame_score=score, official=True)
    assert official["mAP"] == pytest.approx(ours["mAP"] * 4 / 5) == official["single_frame"]["mAP"]
    assert ours["mAP_low"] * 4 / 5 == pytest.approx(official["mAP_low"], rel=0.05)


def test_summary_without_replicates_has_no_intervals():
    random = np.random.default_rng(0)
    found = summarise(np.eye(4)[np.arange(20) % 4], random.random((20, 4)), True, replicates=0, seed=0)
    assert not [name for name in found if name.endswith(("_low", "_high"))]
