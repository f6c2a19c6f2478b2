"""From scores to files: the plots' tables, and the examples that the report shows."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cavmae.dataset.loader import ClipSet
from cavmae.evaluation.evaluator import Evaluation, evaluate_models
from cavmae.evaluation.presentation import _example, _label_clips, metrics_document, write_plots
from tests.training.tiny import params, tiny


@pytest.fixture(scope="module")
def data() -> ClipSet:
    return ClipSet(tiny().dataset)


@pytest.fixture(scope="module")
def evaluation(data: ClipSet) -> Evaluation:
    return evaluate_models(data, [tiny().classifier()], None, params("evaluate", replicates=0))


def test_plots_are_of_the_first_model_and_predictions_of_all(tmp_path: Path, data: ClipSet, evaluation: Evaluation) -> None:
    write_plots(tmp_path / "plots", evaluation, data)
    rows = json.loads((tmp_path / "plots" / "confusion.json").read_text())
    assert len(rows) == 8 and {"actual", "predicted"} <= set(rows[0])
    names = {label.display_name for label in data.labels}
    assert {row["actual"] for row in rows} == names >= {row["predicted"] for row in rows}
    for name, columns in (("roc", ("fpr", "tpr")), ("pr", ("recall", "precision"))):
        with (tmp_path / "plots" / f"{name}.tsv").open() as file:
            points = list(csv.DictReader(file, delimiter="\t"))
        assert {row["model"] for row in points} == {"multimodal"} and len(points) >= 16
        assert all(0 <= float(row[column]) <= 1 for row in points for column in columns)
    with (tmp_path / "plots" / "roc_all.tsv").open() as file:
        points = [(float(row["fpr"]), float(row["tpr"])) for row in csv.DictReader(file, delimiter="\t")]
    assert points[0] == (0, 0) and points[-1] == (1, 1), "one curve, which `dvc plots` draws as one line"
    assert all(left[0] <= right[0] and left[1] <= right[1] for left, right in pairwise(points))


def test_plots_of_nothing_are_an_empty_table(tmp_path: Path, data: ClipSet) -> None:
    import pyarrow.parquet as pq

    write_plots(tmp_path / "plots", Evaluation([], np.zeros((0, 8)), single_label=True), data)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["predictions.parquet"]
    assert pq.read_table(tmp_path / "plots" / "predictions.parquet").num_rows == 0


def test_an_example_shows_its_frames_sound_and_three_best_labels(data: ClipSet, evaluation: Evaluation) -> None:
    labels = [label.display_name for label in data.labels]
    example = _example(evaluation.clips[0], evaluation.scores["multimodal"][0], labels, data)
    assert len(example.frames) == 4 and all(frame[:2] == b"\xff\xd8" for frame in example.frames)
    assert example.log_mel.shape[1] == 64 and example.seconds == pytest.approx(1.0, abs=0.05)
    scores = [score for _, score in example.predictions]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(float(evaluation.scores["multimodal"][0].max()))
    assert example.true_labels == [labels[evaluation.clips[0].labels[0]]] and example.waveform is not None


def test_clips_are_counted_by_label_and_split(data: ClipSet) -> None:
    counts = _label_clips(data, [label.display_name for label in data.labels])
    assert len(counts) == 8 and all(row == {"train": 4, "val": 1, "test": 1} for row in counts.values())


def test_figures_stand_under_their_split(evaluation: Evaluation) -> None:
    given = params("evaluate", split="test", confidence=0.9)
    assert metrics_document(evaluation, given) == {"test": {"confidence": 0.9} | evaluation.metrics}
    assert metrics_document(evaluation, params("evaluate", split="test", replicates=0)) == {"test": evaluation.metrics}
