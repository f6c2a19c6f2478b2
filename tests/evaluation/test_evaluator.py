"""What is measured under which name, and that unlabelled clips count for retrieval only."""

from dataclasses import replace

import numpy as np
import pytest

from cavmae.dataset.loader import ClipSet
from cavmae.errors import InputError
from cavmae.evaluation.evaluator import check_labels, evaluate_models
from cavmae.models.folder import read_config
from tests.training.tiny import params, tiny


@pytest.fixture
def data() -> ClipSet:
    return ClipSet(tiny().dataset)


def test_a_model_of_both_is_also_measured_with_either_modality_missing(data: ClipSet) -> None:
    evaluation = evaluate_models(data, [tiny().classifier()], None, params("evaluate", replicates=0))
    assert list(evaluation.scores) == ["multimodal", "multimodal_missing_video", "multimodal_missing_audio"]
    assert "difference" not in evaluation.metrics and "retrieval" not in evaluation.metrics
    assert not np.array_equal(evaluation.scores["multimodal"], evaluation.scores["multimodal_missing_video"])
    hits = evaluation.scores["multimodal"].argmax(1) == evaluation.targets.argmax(1)
    assert evaluation.metrics["multimodal"]["accuracy"] == pytest.approx(hits.mean())


def test_clips_without_label_are_left_to_retrieval(data: ClipSet) -> None:
    test = data.splits["test"]
    test[0] = replace(test[0], labels=())
    evaluation = evaluate_models(data, [tiny().classifier("audioonly")], tiny().pretrained, params("evaluate", replicates=0))
    assert len(evaluation.clips) == 7 and evaluation.metrics["audio"]["clips"] == 7
    assert evaluation.metrics["retrieval"]["audio_to_video"]["chance_r1"] == pytest.approx(1 / 8)
    data.splits["test"] = [replace(clip, labels=()) for clip in test]
    with pytest.raises(InputError, match="split 'test' holds no labelled clips to evaluate on"):
        evaluate_models(data, [tiny().classifier("audioonly")], None, params("evaluate"))


def test_labels_must_be_the_same_in_the_same_order(data: ClipSet) -> None:
    config = read_config(tiny().classifier())
    check_labels(config, data, tiny().classifier())
    data.labels.reverse()
    with pytest.raises(InputError, match="their order differs; fine-tune on this data first"):
        check_labels(config, data, tiny().classifier())
    data.labels.pop()
    with pytest.raises(InputError, match="is only in one of them"):
        check_labels(config, data, tiny().classifier())
