"""Weight averaging: which epochs, their mean, and what is told where they are not there."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cavmae.errors import InputError
from cavmae.training import averaging
from cavmae.training.averaging import average_weights, epochs_to_average
from tests.training.tiny import params, tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder that keeps epochs 4 to 8, of which 5 and 7 are the best."""
    (tmp_path / "epochs").mkdir()
    for epoch in range(4, 9):
        (tmp_path / "epochs" / f"epoch-{epoch:04d}.safetensors").touch()
    rows = "".join(f"{epoch}\t{0.9 if epoch in (5, 7) else 0.99 if epoch == 1 else 0.5}\n" for epoch in range(1, 9))
    (tmp_path / "curves.tsv").write_text(f"epoch\tval_mAP\n{rows}")
    return tmp_path


def test_last_best_and_range_choose_their_epochs(model: Path) -> None:
    assert epochs_to_average(model, params("average", by="last", count=2)) == [7, 8]
    assert epochs_to_average(model, params("average", by="best", count=2)) == [5, 7]
    assert epochs_to_average(model, params("average", by="best", count=3)) == [5, 7, 8], "of equals the later one"
    assert epochs_to_average(model, params("average", by="range", first_epoch=5, last_epoch=7)) == [5, 6, 7]


def test_fewer_epochs_than_asked_for_are_told(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert epochs_to_average(model, params("average", by="last", count=9)) == [4, 5, 6, 7, 8]
    assert "9 epochs are asked for" in caplog.text and "keeps 5" in caplog.text


@pytest.mark.parametrize(("first", "last"), [(3, 5), (7, 9), (6, 5)])
def test_a_range_that_is_not_kept_is_refused(model: Path, first: int, last: int) -> None:
    with pytest.raises(InputError, match=f"epochs 4 to 8 are kept, not {first} to {last}"):
        epochs_to_average(model, params("average", by="range", first_epoch=first, last_epoch=last))


def test_what_the_choice_needs_is_named_where_it_is_missing(model: Path) -> None:
    best = params("average", by="best")
    (model / "curves.tsv").write_text("epoch\ttrain_loss\n4\t1.0\n")
    with pytest.raises(InputError, match=r"curves\.tsv: no val_mAP to choose the best epochs by"):
        epochs_to_average(model, best)
    (model / "curves.tsv").unlink()
    with pytest.raises(InputError, match=r"curves\.tsv: no such file"):
        epochs_to_average(model, best)
    shutil.rmtree(model / "epochs")
    with pytest.raises(InputError, match="no epochs are kept there; train with keep_epochs above 0"):
        epochs_to_average(model, best)


def test_the_mean_equals_the_originals_to_the_bit(golden: Path, tmp_path: Path) -> None:
    stored = load_file(golden / "metrics" / "weight_average.safetensors")
    paths = []
    for epoch in (3, 4, 5):
        prefix = f"in{epoch}/"
        paths.append(tmp_path / f"{epoch}.safetensors")
        save_file({key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}, paths[-1])
    got = average_weights(paths)
    want = {key.removeprefix("out/"): value for key, value in stored.items() if key.startswith("out/")}
    assert got.keys() == want.keys()
    for key, value in want.items():
        assert got[key].dtype == torch.float32 and torch.equal(got[key], value), key


@pytest.mark.parametrize("second", [{"a": torch.ones(3)}, {"b": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(1)}, {}])
def test_files_of_other_models_are_not_averaged(tmp_path: Path, second: dict[str, torch.Tensor]) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "1.safetensors")
    save_file(second, tmp_path / "2.safetensors")
    with pytest.raises(InputError, match=r"2\.safetensors: holds other parameters than"):
        average_weights([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])


@pytest.mark.parametrize("at_once", [1, 40, 1 << 24])
def test_the_result_does_not_depend_on_how_much_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    torch.manual_seed(0)
    states = [{f"{n}": torch.randn(n, 5) * 10**n for n in range(1, 7)} | {"count": torch.tensor(n)} for n in range(7)]
    paths = [tmp_path / f"{n}.safetensors" for n in range(7)]
    for state, path in zip(states, paths, strict=True):
        save_file(state, path)
    monkeypatch.setattr(averaging, "_AT_ONCE", at_once)
    found = average_weights(paths)
    for key, value in found.items():
        total = states[0][key].float()
        for state in states[1:]:
            total = total + state[key].float()
        assert value.dtype == torch.float32 and torch.equal(value, total / torch.tensor(7.0)), key
    assert found.keys() == states[0].keys() and load_file(paths[0])["6"].equal(states[0]["6"]), "the files stay as they are"


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from the kernel")
def test_memory_is_that_of_one_model_however_many_are_averaged(tmp_path: Path) -> None:
    megabytes, paths = 60, [tmp_path / f"{n}.safetensors" for n in range(4)]
    for path in paths:
        save_file({str(n): torch.full((1 << 18,), float(n)) for n in range(megabytes)}, path)
    script = """
import sys
from pathlib import Path
import torch
from cavmae.training import averaging
averaging._AT_ONCE = 1 << 20
paths = [Path(name) for name in sys.argv[1:]]
torch.zeros(1).add_(1).div_(2)
def memory(what):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(what)]
    return int(line.split()[1]) / 1024
before = memory("VmRSS:")
mean = averaging.average_weights(paths)
assert len(mean) == 60
print(memory("VmHWM:") - before)
"""
    done = subprocess.run([sys.executable, "-c", script, *map(str, paths)], capture_output=True, text=True, check=True)
    assert megabytes * 0.9 < float(done.stdout) < megabytes * 1.5


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "1.safetensors")
    (tmp_path / "2.safetensors").write_bytes((tmp_path / "1.safetensors").read_bytes()[:-3])
    with pytest.raises(InputError, match=r"2\.safetensors: not a readable safetensors file"):
        average_weights([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])
    with pytest.raises(InputError, match=r"3\.safetensors: no such file"):
        average_weights([tmp_path / "3.safetensors"])


def test_a_trained_model_keeps_its_last_epochs_the_last_of_which_is_the_model() -> None:
    folder = tiny().classifier()
    assert epochs_to_average(folder, params("average", by="last", count=3)) == [1, 2, 3]
    last, whole = load_file(folder / "epochs" / "epoch-0003.safetensors"), load_file(folder / "model.safetensors")
    assert all(torch.equal(last[key], whole[key]) for key in whole)
