"""The step `evaluate`: the figures that were asked for, the same again, and a report that needs nothing else."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from cavmae.errors import InputError
from tests.training.tiny import run_step, same_files, tiny

MODELS = {"multimodal", "audio", "video", "multimodal_missing_audio", "multimodal_missing_video"}
METRICS = {"accuracy", "mAP", "mAUC", "precision", "recall", "f1"}


def evaluate(out: Path, **changes: Any) -> Path:
    folders: dict[str, Path | None] = {
        "dataset": tiny().dataset,
        "model": tiny().classifier(),
        "audio_model": tiny().classifier("audioonly"),
        "video_model": tiny().classifier("videoonly"),
        "pretrained": tiny().pretrained,
        "curves": None,
    } | {key: changes.pop(key) for key in [*changes] if isinstance(changes[key], Path) or changes[key] is None}
    outputs = {"metrics": out / "evaluation.json", "plots": out / "plots", "report": out / "report.html"}
    run_step("evaluate", folders | outputs, **changes)
    return out


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "curves").mkdir()
    shutil.copyfile(tiny().classifier() / "curves.tsv", folder / "curves" / "multimodal.tsv")
    return evaluate(folder / "out", curves=folder / "curves")


def numbers(value: Any) -> list[Any]:
    return [leaf for item in value.values() for leaf in numbers(item)] if isinstance(value, dict) else [value]


def test_the_figures_have_the_shape_that_the_issue_asks_for(done: Path) -> None:
    document = json.loads((done / "evaluation.json").read_text())
    assert set(document) == {"test"}
    test = document["test"]
    assert set(test) >= MODELS
    for model in MODELS:
        assert set(test[model]) >= METRICS | {"clips", "single_frame"}, model
        for metric in METRICS:
            assert 0 <= test[model][metric] <= 1
            assert test[model][f"{metric}_low"] <= test[model][f"{metric}_high"]
    assert set(test["retrieval"]) == {"audio_to_video", "video_to_audio"}
    for way in test["retrieval"].values():
        assert {"r1", "r5", "r10", "median_rank", "chance_r1"} <= set(way)
        assert way["chance_r1"] == pytest.approx(1 / 8) and 1 <= way["median_rank"] <= 8 and way["r10"] == 1.0
    assert test["confidence"] == 0.95
    assert set(test["ceiling"]) == {"audio", "video", "multimodal"}
    assert set(test["difference"]) == {"multimodal_minus_audio", "multimodal_minus_video"}
    assert all(type(leaf) in (int, float) for leaf in numbers(document)), "dvc metrics diff compares numbers"


def test_a_second_run_gives_the_same_bytes(done: Path, tmp_path: Path) -> None:
    evaluate(tmp_path / "out", curves=done.parent / "curves")
    assert same_files(done, tmp_path / "out") == []


def test_the_plots_are_there_with_every_clip(done: Path) -> None:
    import pyarrow.parquet as pq

    assert {path.name for path in (done / "plots").iterdir()} == {
        *("confusion.json", "pr.tsv", "roc.tsv", "roc_all.tsv", "summary.json", "predictions.parquet")
    }
    assert len(json.loads((done / "plots" / "confusion.json").read_text())) > 0
    rows = pq.read_table(done / "plots" / "predictions.parquet").to_pylist()
    assert len(rows) == 5 * 8 and {row["model"] for row in rows} == MODELS
    assert all(len(row["scores"]) == 8 and row["predicted"] for row in rows)
    assert all(sum(row["scores"]) == pytest.approx(1, abs=1e-5) for row in rows)


def test_the_summary_is_short_and_says_what_the_figures_say(done: Path) -> None:
    summary = json.loads((done / "plots" / "summary.json").read_text())
    figures = json.loads((done / "evaluation.json").read_text())["test"]
    wanted = {name: {key: figures[name][key] for key in ("accuracy", "mAP")} for name in ("multimodal", "audio", "video")}
    ways = {way: {"r1": values["r1"]} for way, values in figures["retrieval"].items()}
    assert summary == wanted | ways and len(ways) == 2


def test_the_report_is_one_file_without_links_to_elsewhere(done: Path) -> None:
    page = (done / "report.html").read_text()
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)([^"']*)["']|url\(\s*['"]?(?!data:|#)([^)'"]+)""", page)
    assert outside == []
    assert not re.findall(r"""@import|<link\b|<script[^>]+\bsrc""", page)
    assert "Sound alone" in page and "multimodal" in page


def test_it_makes_do_with_what_is_there(tmp_path: Path) -> None:
    none: dict[str, Any] = {"model": None, "audio_model": None, "video_model": None}
    evaluate(tmp_path / "a", **none, replicates=0)
    assert set(json.loads((tmp_path / "a" / "evaluation.json").read_text())["test"]) == {"retrieval", "ceiling"}
    assert (tmp_path / "a" / "report.html").is_file()
    only: dict[str, Any] = {"model": None, "audio_model": None, "pretrained": None}
    evaluate(tmp_path / "b", **only, replicates=0, split="val", batch_size=3)
    figures = json.loads((tmp_path / "b" / "evaluation.json").read_text())["val"]
    assert set(figures) == {"video", "ceiling"} and "accuracy_low" not in figures["video"]


def test_figures_do_not_depend_on_the_batch_size(done: Path, tmp_path: Path) -> None:
    whole = json.loads((done / "evaluation.json").read_text())["test"]
    evaluate(tmp_path / "a", pretrained=None, batch_size=3)
    other = json.loads((tmp_path / "a" / "evaluation.json").read_text())["test"]
    for model in MODELS:
        assert {key: other[model][key] for key in METRICS} == {key: pytest.approx(whole[model][key]) for key in METRICS}


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"model": None, "audio_model": None, "video_model": None, "pretrained": None}
    with pytest.raises(InputError, match="give a model"):
        evaluate(tmp_path, **nothing)
    with pytest.raises(InputError, match="is no classifier; give a fine-tuned model"):
        evaluate(tmp_path, model=tiny().pretrained)
    with pytest.raises(InputError, match="is a second model of mode multimodal; give one of each"):
        evaluate(tmp_path, audio_model=tiny().classifier())
    foreign = Path(shutil.copytree(tiny().classifier(), tmp_path / "foreign"))
    config = json.loads((foreign / "config.json").read_text())
    config["labels"][0]["mid"] = "another"
    (foreign / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"its labels are not those of .*'another' is only in one of them"):
        evaluate(tmp_path, model=foreign)
    config["clip"]["sample_rate"] = 22050
    config["labels"] = json.loads((tiny().classifier() / "config.json").read_text())["labels"]
    (foreign / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="is made for 22050 Hz"):
        evaluate(tmp_path, model=foreign)
    assert load_file(foreign / "model.safetensors")
