"""Rows for dvc plots: they equal scikit-learn's curves, stay few, and survive odd labels in the files."""

import csv
import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cavmae.evaluation.curves import confusion_matrix, confusion_rows, curve_points, write_rows


def columns(rows, *names):
    return np.array([[row[name] for row in rows] for name in names])


def test_curves_equal_scikit_learn_with_ties():
    random = np.random.default_rng(0)
    target = (random.random((60, 1)) < 0.3).astype(float)
    score = random.integers(0, 12, (60, 1)) / 12
    found = curve_points(target, score, ["x"])
    fpr, tpr, threshold = sklearn_metrics.roc_curve(target[:, 0], score[:, 0], drop_intermediate=False)
    assert columns(found["roc"], "fpr", "tpr") == pytest.approx(np.stack([fpr, tpr]))
    assert columns(found["roc"], "threshold")[0][1:] == pytest.approx(threshold[1:])
    precision, recall, _ = sklearn_metrics.precision_recall_curve(target[:, 0], score[:, 0])
    # scikit-learn starts at precision 1 whatever the scores say; ours starts at the first point's.
    expected = np.stack([recall, precision])[:, ::-1]
    assert columns(found["pr"], "recall", "precision")[:, 1:] == pytest.approx(expected[:, 1:])


def test_curves_are_thinned_keep_their_ends_and_their_area():
    random = np.random.default_rng(0)
    target = (random.random((5000, 1)) < 0.1).astype(float)
    score = random.random((5000, 1)) + 0.5 * target
    rows = curve_points(target, score, ["x"], limit=200)["roc"]
    fpr, tpr = columns(rows, "fpr", "tpr")
    assert len(rows) <= 200
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(sklearn_metrics.roc_auc_score(target, score), abs=2e-3)
    json.dumps(rows, allow_nan=False)


def test_class_without_positives_has_no_curve_and_one_without_negatives_no_roc():
    found = curve_points(np.array([[0, 1], [0, 1]]), np.array([[0.1, 0.2], [0.3, 0.4]]), ["none", "all"])
    assert {row["label"] for row in found["pr"]} == {"all"}
    assert found["roc"] == []


def test_confusion_of_single_labels_equals_scikit_learn():
    random = np.random.default_rng(0)
    actual, score = random.integers(0, 4, 50), random.random((50, 4))
    expected = sklearn_metrics.confusion_matrix(actual, score.argmax(axis=1), labels=range(4))
    assert (confusion_matrix(np.eye(4)[actual], score) == expected).all()


def test_confusion_of_several_labels_blames_the_best_scored_wrong_one():
    rows = confusion_rows(np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1]]), np.array([[0.9, 0.1, 0.5]] * 3), ["a", "b", "c"])
    first, rest = rows[:2], rows[2:]
    assert first == [{"actual": "a", "predicted": "a"}, {"actual": "b", "predicted": "c"}]
    assert rest == [{"actual": name, "predicted": name} for name in "abc"]


@pytest.mark.parametrize("suffix", ["tsv", "csv", "json"])
def test_written_rows_are_read_back_with_odd_labels(tmp_path, suffix):
    rows = [{"actual": 'tab\t"quote"\nline', "predicted": "käse, <b>"}, {"actual": "=1+1", "predicted": "-x"}]
    path = tmp_path / f"confusion.{suffix}"
    write_rows(path, rows)
    if suffix == "json":
        assert json.loads(path.read_text()) == rows
    else:
        with path.open(newline="", encoding="utf-8") as file:
            assert list(csv.DictReader(file, delimiter="\t" if suffix == "tsv" else ",")) == rows


def test_no_rows_still_write_a_header(tmp_path):
    write_rows(tmp_path / "pr.tsv", [], columns=["label", "recall"])
    assert (tmp_path / "pr.tsv").read_text() == "label\trecall\n"
