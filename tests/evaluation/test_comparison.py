"""Scores of candidate and champion stand in the order of the data's labels, and clips of a group are drawn together."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cavmae.dataset.loader import ClipSet
from cavmae.errors import InputError
from cavmae.evaluation.comparison import compare_models
from tests.training.tiny import params, tiny


def test_columns_go_by_the_name_of_the_label(tmp_path: Path) -> None:
    shutil.copytree(tiny().classifier(), tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    labels = config["labels"]
    labels[1], labels[2], labels[0] = labels[2], labels[1], {"mid": "x", "display_name": "x"}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    found = compare_models(ClipSet(tiny().dataset), tmp_path / "other", tiny().classifier(), params("compare"))
    assert found.champion is not None
    mine, theirs = found.candidate.scores, found.champion.scores
    assert np.array_equal(mine[:, 1], theirs[:, 2]) and np.array_equal(mine[:, 2], theirs[:, 1])
    assert not mine[:, 0].any() and np.array_equal(mine[:, 3:], theirs[:, 3:])
    assert not np.array_equal(theirs[:, 1], theirs[:, 2])


def test_clips_of_one_group_are_drawn_together_and_one_group_alone_cannot_be(tmp_path: Path) -> None:
    data = ClipSet(tiny().dataset)
    clips, models = data.splits["test"], (tiny().classifier(), tiny().classifier("audioonly"))
    found = []
    for size in (1, 4):
        data.splits["test"] = [replace(clip, group=f"group {place // size}") for place, clip in enumerate(clips)]
        found.append(compare_models(data, *models, params("compare")))
    singly, together = found
    assert (singly.groups, together.groups) == (8, 2)
    assert singly.differences["mAP"]["low"] != together.differences["mAP"]["low"]
    assert singly.candidate.figures["mAP_low"] != together.candidate.figures["mAP_low"]
    data.splits["test"] = [replace(clip, group="one") for clip in clips]
    with pytest.raises(InputError, match="split 'test' are all of one group, which no bootstrap can resample"):
        compare_models(data, *models, params("compare"))


def test_a_metric_that_the_clips_do_not_define_is_named(tmp_path: Path) -> None:
    data = ClipSet(tiny().dataset)
    data.splits["test"] = [replace(clip, labels=(0,)) for clip in data.splits["test"]]
    with pytest.raises(InputError, match="mAUC is not defined on split 'test'; set another metric"):
        compare_models(data, tiny().classifier(), tiny().classifier("audioonly"), params("compare", metric="mAUC"))
    data.splits["test"] = [replace(clip, labels=()) for clip in data.splits["test"]]
    with pytest.raises(InputError, match="holds no labelled clips to compare on"):
        compare_models(data, tiny().classifier(), None, params("compare"))
