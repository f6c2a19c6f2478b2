"""Our sides of the benchmarks run by themselves; no checkout of the original is needed."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scaling
from benchmarks.clips import generated, videos_in, write_dataset, write_original_layout
from benchmarks.turns import Worker, in_turns
from cavmae.errors import InputError

PYTHON = Path(sys.executable)


@pytest.mark.slow
def test_our_step_trains_on_what_it_is_given(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"device": "cpu", "precision": "float32", "threads": 1, "batch": 2, "seed": 0, "turns": 3}
    settings |= {"size": "small", "fresh": False, "set": ["lr=1e-3"], "profile": str(tmp_path / "profile.txt")}
    with Worker(PYTHON, "benchmarks.workers.our_step", settings, 1) as worker:
        about = worker.hear()
        answers = in_turns([worker], 3)[0]
        worker.finish()
    losses = [answer["losses"]["loss"] for answer in answers]
    assert about["parameters"] > 1e5 and answers[0]["peak_flops"] > 1e8 and all(map(math.isfinite, losses))
    assert losses[2] < losses[0]  # the same batch and masks each time
    assert "Self CPU" in (tmp_path / "profile.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("change", "says"), [({"set": ["nonsense=1"]}, "nonsense"), ({"device": "cuda"}, "a GPU is missing")])
def test_our_step_names_what_is_missing_or_wrong(change: dict[str, Any], says: str) -> None:
    import torch

    if "device" in change and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    settings: dict[str, Any] = {"device": "cpu", "precision": "float32", "threads": 1, "batch": 2, "seed": 0, "turns": 1}
    settings |= {"size": "small", "fresh": False, "set": [], "profile": None}
    with (
        Worker(PYTHON, "benchmarks.workers.our_step", {**settings, **change}, 1) as worker,
        pytest.raises(InputError, match=says),
    ):
        worker.hear()


@pytest.mark.slow
def test_the_input_path_reads_every_clip_on_both_devices(tmp_path: Path) -> None:
    assert write_original_layout(tmp_path / "original", generated(3)) == 3
    dataset, model = write_dataset(tmp_path / "original", tmp_path / "ours")
    settings = {"batch": 2, "threads": 1, "dataset": str(dataset), "model": str(model)}
    with Worker(PYTHON, "benchmarks.workers.our_input", settings, 1) as worker:
        worker.hear()
        answer = in_turns([worker], 1)[0][0]
    assert (answer["cpu"]["clips"], answer["cuda"]["clips"]) == (3, 3)
    assert answer["cuda"]["cpu_s"] > 0


@pytest.mark.slow
def test_scaling_measures_every_stage(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert scaling.main(["--sizes", "30,60", "--workers", "1", "--json", str(file), "--results", str(tmp_path)]) == 0
    found = json.loads(file.read_text())
    assert set(found["stages"]) == {"ingest", "extract", "validate", "read", "retrieve"}
    assert all(size["peak_bytes"] > 1e7 for stage in found["stages"].values() for size in stage["sizes"].values())
    assert found["reference"] is None and found["ratio"] is None


@pytest.mark.parametrize("sizes", ["100", "100,50", "3,100", "a,b"])
def test_scaling_wants_rising_sizes(sizes: str) -> None:
    with pytest.raises(SystemExit) as ended:
        scaling.main(["--sizes", sizes])
    assert ended.value.code == 2


def test_generated_clips_have_the_original_s_shape_and_differ() -> None:
    (sound, pictures), (other, _) = generated(2)
    assert sound.shape == (160_000,) and sound.dtype == "int16" and len(pictures) == 10
    assert pictures[0].shape == (224, 224, 3) and pictures[0].dtype == "uint8"
    assert (sound != other).any() and (pictures[0] != pictures[1]).any()


def test_videos_are_chosen_evenly_and_a_folder_without_is_named(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.MP4").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    assert [path.stem for path in videos_in(tmp_path, 5)] == ["0", "2", "4", "6", "8"]
    assert len(videos_in(tmp_path, 100)) == 10
    with pytest.raises(InputError, match="holds no video"):
        videos_in(tmp_path / "none", 5)
