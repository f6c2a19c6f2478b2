"""Training on a GPU: the same figures as on a CPU, the same bits again, and what holds nothing up still stops in time."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cavmae.errors import StepFailed
from cavmae.training.curves import read_curves
from cavmae.training.peak import peak_flops
from tests.training.test_engine import Diverging
from tests.training.tiny import same_files, tiny, train
from tests.training.toy import toy_engine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
RUN: dict[str, Any] = {"batch_size": 10, "keep_epochs": 0, "epochs": 2}


def run(step: str, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    monkeypatch.setenv("CAVMAE_WORK", str(out / "work"))
    start = tiny().adapted if step == "pretrain" else tiny().pretrained
    train(step, out, tiny().dataset, start, **RUN | {"device": "cuda"} | changes)
    return out


def check_near(one: Path, other: Path, relative: float) -> None:
    for row, wanted in zip(*(read_curves(out / "curves.tsv") for out in (one, other)), strict=True):
        for figure in ("train_loss", "val_loss"):
            assert row[figure] == pytest.approx(wanted[figure], rel=relative)


@pytest.mark.parametrize("step", ["pretrain", "finetune"])
@pytest.mark.parametrize(
    ("changes", "relative"),
    [
        ({}, 1e-4),
        ({"precision": "tf32"}, 1e-2),
        ({"precision": "bf16"}, 5e-2),
        ({"deterministic": "false"}, 1e-4),
        ({"micro_batch": 3}, 1e-4),
        ({"activation_checkpointing": "true"}, 1e-4),
        ({"compile": "true"}, 1e-3),
        ({"precision": "bf16", "compile": "true", "micro_batch": 4, "ema_decay": 0.001}, 5e-2),
    ],
)
def test_a_gpu_ends_near_where_a_cpu_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, changes: dict[str, Any], relative: float
) -> None:
    check_near(
        run(step, tmp_path / "cpu", monkeypatch, device="cpu"), run(step, tmp_path / "gpu", monkeypatch, **changes), relative
    )


@pytest.mark.parametrize("step", ["pretrain", "finetune"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_deterministic_runs_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, precision: str
) -> None:
    one, other = (run(step, tmp_path / name, monkeypatch, precision=precision) / "model" for name in ("one", "other"))
    assert same_files(one, other) == []


def test_a_loss_that_is_no_number_is_seen_late_and_never_saved(tmp_path: Path) -> None:
    engine = toy_engine(Diverging("loss"), tmp_path, epochs=3, device="cuda")
    with pytest.raises(StepFailed, match="the loss is nan at step 5; lower lr or set clip_grad_norm"):
        engine.run("toy")
    state = engine.checkpoints.load()
    assert state is not None and 1 <= state["step"] <= 4 and torch.isfinite(state["model"]["weight"]).all()


def test_the_peak_is_one_of_a_gpu() -> None:
    device = torch.device("cuda")
    assert peak_flops(device, "bf16") > peak_flops(device, "float32") > 1e12
