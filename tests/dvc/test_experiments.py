"""Another value of a parameter, as an experiment: what runs, and what DVC tells of the difference."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.dvc.project import run, stages_of

pytestmark = pytest.mark.slow

MODES = ("multimodal", "audioonly", "videoonly")
AFTER_FINETUNING = [f"{step}@{mode}" for step in ("finetune", "average") for mode in MODES] + ["evaluate", "package"]


def drawings(page: Path) -> dict[str, dict[str, Any]]:
    """The Vega-Lite documents of a page of `dvc plots`, by title."""
    text, decoder = page.read_text(), json.JSONDecoder()
    found = [decoder.raw_decode(text[match.end() :])[0] for match in re.finditer(r"var spec = ", text)]
    return {one["title"]["text"]: one for one in found}


def test_an_experiment_runs_what_it_changes_and_dvc_tells_the_difference(project: Path) -> None:
    said = run(project, "dvc", "exp", "run", "-n", "faster", "-S", "finetune.lr=0.01")
    assert stages_of(said) == AFTER_FINETUNING

    changed = json.loads(run(project, "dvc", "params", "diff", "--json"))
    assert changed == {"params.yaml": {"finetune.lr": {"old": 0.002, "new": 0.01, "diff": 0.008}}}

    names = {f"{name}.{figure}" for name in ("multimodal", "audio", "video") for figure in ("accuracy", "mAP")}
    names |= {"audio_to_video.r1", "video_to_audio.r1"}
    lines = run(project, "dvc", "metrics", "show").splitlines()
    assert set(lines[0].split()) == {"Path", *names} and max(map(len, lines)) < 180, "a line that a screen holds"
    diff = json.loads(run(project, "dvc", "metrics", "diff", "--json"))
    assert set(diff) == {"metrics/plots/summary.json"}
    moved = diff["metrics/plots/summary.json"]
    assert moved and set(moved) <= names and not any(name.endswith(".r1") for name in moved), "pretraining is the same"
    for row in moved.values():
        assert row["diff"] == pytest.approx(row["new"] - row["old"]) != 0
    assert moved == json.loads(run(project, "dvc", "metrics", "diff", "--json", "HEAD", "faster"))["metrics/plots/summary.json"]

    table = csv.DictReader(
        io.StringIO(run(project, "dvc", "exp", "show", "--csv", "--only-changed", "--drop", "models|metrics/"))
    )
    rates = {row["Experiment"] or row["rev"]: row["finetune.lr"] for row in table}
    assert rates == {"workspace": "0.01", "main": "0.002", "faster": "0.01"}

    run(project, "dvc", "plots", "diff", "HEAD", "faster")
    drawn = drawings(project / "dvc_plots" / "index.html")
    declared = {
        title: plot for one in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["plots"] for title, plot in one.items()
    }
    assert list(drawn) == list(declared)
    for title, plot in declared.items():
        rows = drawn[title]["data"]["values"]
        by_rev = {rev: [row for row in rows if row["rev"] == rev] for rev in ("HEAD", "faster")}
        assert all(by_rev.values()) and len(rows) == sum(map(len, by_rev.values())), title
        (columns,) = plot["y"].values()
        several = isinstance(columns, list)
        assert {row.get("field") for row in rows} == (set(columns) if several else {None}), title
        if plot["template"] == "simple":  # of one revision and column, a point for each x but where a curve rises
            assert f'"{plot["y_label"]}"' in json.dumps(drawn[title])
        strip = [{key: value for key, value in row.items() if key != "rev"} for row in by_rev["HEAD"]]
        same = strip == [{key: value for key, value in row.items() if key != "rev"} for row in by_rev["faster"]]
        assert same == (title == "Pretraining loss"), title
