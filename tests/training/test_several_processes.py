"""Training on several processes gives what one process gives: the same curves and weights, from the same clips, once each."""

import json
import shutil
import signal
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from cavmae.cli import main
from cavmae.dataset.loader import ClipSet
from cavmae.training.curves import read_curves
from tests.training.launch import RECIPES, finished, torchrun, wait_for_checkpoint, words
from tests.training.tiny import same_files, tiny

# Sums over processes are taken in another order than within one. Seen after up to 20 steps of 2e-3: 2e-6 of a figure, 2e-7 in a
# tensor's weights (root of the mean square), 2e-5 in a single weight: where a gradient is 0 but for rounding, Adam takes steps of
# the same size whatever the gradient. That is so of all biases of keys, of which softmax takes no notice.
CURVES, WEIGHTS, ANY_WEIGHT = 1e-5, 1e-6, 1e-4


@lru_cache(maxsize=4)
def by_one(step: str, out: Path) -> Path:
    """What one process makes, without any launcher."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAVMAE_WORK", str(out / "work"))
        assert main(words(step, out)) == 0
    return out


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alone")


def weights(path: Path) -> dict[str, Tensor]:
    """Weights without the biases of keys."""
    state = load_file(path)
    for name, value in state.items():
        if name.endswith("qkv.bias"):
            value[len(value) // 3 : len(value) // 3 * 2] = 0
    return state


def check_same(one: Path, several: Path) -> None:
    """Hold the outputs of several processes to those of one."""
    rows, wanted = (read_curves(out / "curves.tsv") for out in (several, one))
    assert len(rows) == len(wanted) > 1
    for row, want in zip(rows, wanted, strict=True):
        assert row == pytest.approx(want, rel=CURVES, abs=1e-9)
    names = [path.relative_to(one) for path in (one / "model").rglob("*.safetensors")]
    assert names
    for name in names:
        found, expected = weights(several / name), weights(one / name)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            apart = found[key].double() - value.double()
            assert apart.square().mean().sqrt() <= WEIGHTS and apart.abs().max() <= ANY_WEIGHT, f"{name} {key}"
    assert (several / "model" / "config.json").read_bytes() == (one / "model" / "config.json").read_bytes()
    assert (several / "model" / "lineage.json").read_bytes() == (one / "model" / "lineage.json").read_bytes()


@pytest.mark.parametrize(
    ("step", "count"),
    [
        ("pretrain", 3),
        *(pytest.param("pretrain", count, marks=pytest.mark.slow) for count in (1, 2, 8)),
        *(pytest.param("finetune", count, marks=pytest.mark.slow) for count in (1, 2, 3, 8)),
    ],
)
def test_curves_and_weights_are_those_of_one_process(tmp_path: Path, alone: Path, step: str, count: int) -> None:
    code, messages = finished(torchrun(count, tmp_path, words(step, tmp_path)))
    assert code == 0, messages
    one = by_one(step, alone / step)
    check_same(one, tmp_path)
    assert len([line for line in messages.splitlines() if line.startswith(f"{step} events: ")]) == 1, "one process logs"
    assert messages.count(f"{count} processes train together") == (count > 1)
    events = [path.parent.name for path in (tmp_path / "events").rglob("*") if path.is_file()]
    assert sorted(events) == ["events", "steps"], "one process writes events, of epochs and of steps"
    assert len((tmp_path / "work" / "runs.jsonl").read_text().split()) > 0
    assert (tmp_path / "work" / "runs.jsonl").read_text().count(f'"step": "{step}"') == 1
    (left,) = (tmp_path / "work" / step).iterdir()
    assert (left / "finished").is_file() and len(list(left.glob("step-*.pt"))) == 1, "the last state stays for a day"
    if count == 1:
        assert same_files(one / "model", tmp_path / "model") == []


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 4])
def test_every_clip_of_an_epoch_is_read_by_one_process_once(tmp_path: Path, count: int) -> None:
    given = [str(tmp_path), "null", *words("pretrain", tmp_path, epochs=2, batch_size=6)]
    code, messages = finished(torchrun(count, tmp_path, given, "tests.training.worker"))
    assert code == 0, messages
    data = ClipSet(tiny().dataset)
    names = {(clip.shard.name, clip.offset): clip.video_id for clips in data.splits.values() for clip in clips}
    reads = [[names[tuple(item)] for item in json.loads(path.read_text())] for path in sorted(tmp_path.glob("read-*.json"))]
    assert len(reads) == count and all(reads)
    wanted = [clip.video_id for split in ("train", "val") for clip in data.splits[split]]
    assert Counter(clip for one in reads for clip in one) == Counter(wanted * 2)
    trained = [len([clip for clip in one if clip in wanted[:32]]) for one in reads]
    assert max(trained) <= 2 * (5 * -(-6 // count) + -(-2 // count)), "nobody reads more than its share"


@pytest.mark.slow
def test_what_two_processes_leave_one_two_and_three_continue(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    process = torchrun(2, stopped, words("pretrain", stopped, epochs=8, checkpoint_s=1e-4))
    wait_for_checkpoint(stopped, process)
    process.send_signal(signal.SIGTERM)
    code, messages = finished(process)
    assert code == 1, "torchrun's own code"
    said = [line for line in messages.splitlines() if line.startswith("cavmae pretrain: ")]
    assert len(said) == 1 and "run the same command to continue" in said[0]
    step = int(said[0].split()[5])
    kept = list((stopped / "work" / "pretrain").iterdir())
    assert len(kept) == 1 and (kept[0] / f"step-{step:09d}.pt").is_file() and not (stopped / "model").exists()
    undisturbed = tmp_path / "undisturbed"
    code, messages = finished(torchrun(2, undisturbed, words("pretrain", undisturbed, epochs=8)))
    assert code == 0, messages
    for count in (1, 2, 3):
        out = tmp_path / f"by-{count}"
        shutil.copytree(stopped / "work", out / "work")
        code, messages = finished(torchrun(count, out, words("pretrain", out, epochs=8)))
        assert code == 0 and messages.count(f"resumed at step {step}\n") == 1, messages
        if count == 2:
            assert same_files(undisturbed / "model", out / "model") == [], "the same number ends in the same bits"
        else:
            check_same(undisturbed, out)


def test_the_recipes_end_with_a_batch_of_fewer_clips_than_processes() -> None:
    clips = len(ClipSet(tiny().dataset).splits["train"])
    assert {clips % recipe["batch_size"] for recipe in RECIPES.values()} == {2}
