"""Real commands that are killed at whatever moment: run again, they end where an undisturbed run ends, to the bit."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cavmae.cli import main
from cavmae.stores import open_store
from tests.s3_service import S3Service
from tests.training.tiny import REPOSITORY, arguments, same_files, tiny

# long enough to be met half-way, with a checkpoint after every step
LONG = {"epochs": 30, "warmup_epochs": 1, "keep_epochs": 3, "checkpoint_s": 0.0001}


def words(step: str, out: Path) -> list[str]:
    given = {"mixup": 0.5, "noise": "true"} if step == "finetune" else {"mask_mode": "tf"}
    start = tiny().pretrained if step == "finetune" else tiny().adapted
    folders = {"dataset": tiny().dataset, "start": start, "model": out / "model", "curves": out / "curves.tsv"}
    folders["events"] = out / "events"
    flags = [word for name, path in folders.items() for word in (f"--{name}", str(path))]
    return [*arguments(step, **LONG, **given), *flags]


class Command:
    """`python -m cavmae …` in a process of its own, which is stopped once it has written a checkpoint."""

    def __init__(self, step: str, out: Path) -> None:
        self.work = out / "work"
        environment = {**os.environ, "CAVMAE_WORK": str(self.work), "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cavmae", *words(step, out)],
            cwd=REPOSITORY,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.step = step

    def checkpoints(self) -> set[str]:
        return {path.name for path in (self.work / self.step).glob("*/step-*.pt")}

    def stop(self, how: signal.Signals, checkpoints: Callable[[], set[str]] | None = None) -> tuple[int, str]:
        """Wait for a new checkpoint and a little longer, send the signal, return exit code and messages."""
        seen = checkpoints or self.checkpoints
        before, deadline = seen(), time.monotonic() + 60
        while not seen() - before and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.3))
        self.process.send_signal(how)
        _, messages = self.process.communicate(timeout=60)
        return self.process.returncode, messages


def run_here(step: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(out / "work"))
    assert main(words(step, out)) == 0


@pytest.mark.parametrize(("step", "signals"), [("pretrain", ["SIGKILL"]), ("finetune", ["SIGKILL", "SIGTERM"])])
def test_a_command_stopped_at_random_moments_ends_where_an_undisturbed_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, signals: list[str]
) -> None:
    out = tmp_path / "stopped"
    for number, name in enumerate(signals):
        code, messages = Command(step, out).stop(signal.Signals[name])
        assert code == (75 if name == "SIGTERM" else -signal.SIGKILL), messages
        assert ("resumed at step" in messages) == (number > 0), messages
        assert "Traceback" not in messages and not (out / "model").exists()
        if name == "SIGTERM":
            assert "stopped at step" in messages and "run the same command to continue" in messages
    with caplog.at_level(logging.INFO):
        run_here(step, out, monkeypatch)
    resumed = [record.getMessage() for record in caplog.records if record.getMessage().startswith("resumed at step ")]
    assert len(resumed) == 1 and int(resumed[0].rpartition(" ")[2]) > 0
    undisturbed = tmp_path / "undisturbed"
    run_here(step, undisturbed, monkeypatch)
    assert same_files(out / "model", undisturbed / "model") == []
    assert (out / "curves.tsv").read_bytes() == (undisturbed / "curves.tsv").read_bytes()
    (left,) = (out / "work" / step).iterdir()
    assert (left / "finished").is_file() and len(list(left.glob("step-*.pt"))) == 1, "the last state stays for a day"


@pytest.mark.slow
def test_a_command_whose_machine_is_lost_continues_on_another_from_s3(
    tmp_path: Path, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"s3://{s3_server.bucket()}/checkpoints")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CAVMAE_CHECKPOINTS", store.location)
        out = tmp_path / "lost"
        for number, name in enumerate(["SIGKILL", "SIGKILL", "SIGTERM"]):
            command = Command("finetune", out)
            code, messages = command.stop(signal.Signals[name], lambda: {one for one in store.names() if one.endswith(".json")})
            assert code == (75 if name == "SIGTERM" else -signal.SIGKILL), messages
            assert ("resumed at step" in messages) == (number > 0) == (f"comes from {store.location}/" in messages), messages
            assert "Traceback" not in messages and "could not be copied" not in messages
            stopped = max(command.checkpoints())
            shutil.rmtree(out)  # with everything else that this machine had
        assert f"{stopped.removesuffix('.pt')}.json" in {one.rpartition("/")[2] for one in store.names()}, "SIGTERM waits for it"
        with caplog.at_level(logging.INFO):
            run_here("finetune", out, elsewhere)
        resumed = [record.getMessage() for record in caplog.records if record.getMessage().startswith("resumed at step ")]
        assert resumed == [f"resumed at step {int(stopped[5:14])}"]
        kept = {one.rpartition("/")[2].partition("-")[0] for one in store.names()}
        assert kept == {"finished", "step", "epoch"}, "the last state stays for a day"
    undisturbed = tmp_path / "undisturbed"
    run_here("finetune", undisturbed, monkeypatch)
    assert same_files(out / "model", undisturbed / "model") == []
    assert (out / "curves.tsv").read_bytes() == (undisturbed / "curves.tsv").read_bytes()
