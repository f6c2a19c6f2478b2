"""Several processes of `cavmae pretrain` or `finetune`: by torchrun, or each by hand as any other launcher starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.training.tiny import REPOSITORY, arguments, tiny

TIMEOUT_S = 600
# 32 clips: the last batch holds two, fewer than three processes
RECIPES: dict[str, dict[str, Any]] = {
    "pretrain": {"epochs": 3, "batch_size": 10, "mask_mode": "tf", "replicas": 2, "bidirect_contrast": "true"},
    "finetune": {"epochs": 3, "batch_size": 10, "mixup": 0.5, "noise": "true", "freq_mask": 4, "balanced_sampling": "true"}
    | {"label_smoothing": 0.1, "clip_grad_norm": 1.0, "keep_epochs": 2},
}


def words(step: str, out: Path, **changes: Any) -> list[str]:
    """The command line, without the program."""
    start = tiny().pretrained if step == "finetune" else tiny().adapted
    folders = {"dataset": tiny().dataset, "start": start, "model": out / "model", "curves": out / "curves.tsv"}
    flags = [word for name, path in (folders | {"events": out / "events"}).items() for word in (f"--{name}", str(path))]
    return [*arguments(step, **RECIPES[step] | changes), *flags]


def environment(out: Path, **more: str) -> dict[str, str]:
    """Variables of a process whose work folder lies in `out`."""
    return {**os.environ, "CAVMAE_WORK": str(out / "work"), "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", **more}


def torchrun(count: int, out: Path, given: list[str], program: str = "cavmae") -> subprocess.Popen[str]:
    """Start `count` processes by torchrun."""
    # without `--`, torchrun takes --start for a beginning of its own --start-method
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", "--", program]
    return subprocess.Popen(
        [sys.executable, *launcher, *given], cwd=REPOSITORY, env=environment(out), stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return exit code and messages."""
    try:
        _, messages = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return process.returncode, messages


def each_by_hand(out: Path, given: list[list[str]], program: str = "cavmae") -> list[subprocess.Popen[str]]:
    """Start one process for each command line, with the variables that a launcher sets."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(len(given)), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", program, *line],
            cwd=REPOSITORY,
            env=environment(out, **common, RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        for rank, line in enumerate(given)
    ]


def wait_for_checkpoint(out: Path, process: subprocess.Popen[str]) -> None:
    """Return when the run has written a checkpoint."""
    deadline = time.monotonic() + TIMEOUT_S
    while not list((out / "work").glob("*/*/step-*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@dataclass(frozen=True)
class Fault:
    """What process `rank` does wrong: reading its clip number `read`, or writing (read: None)."""

    rank: int
    read: int | None

    def words(self) -> list[str]:
        return [json.dumps(vars(self))]
