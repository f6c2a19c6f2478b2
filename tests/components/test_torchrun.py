"""A step in several processes of one machine: real torchrun, real processes."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from cavmae.errors import InputError, Interrupted, StepFailed
from components import torchrun
from components.torchrun import run_processes
from tests.components.api_server import wait_until
from tests.components.stand_in import stand_in
from tests.conftest import REPOSITORY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stand_in(tmp_path, monkeypatch)
    return tmp_path


def test_processes_work_together_and_get_their_words_as_they_are(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    odd = "--set=note=a b; $(touch bad) `touch bad` 'ä\""
    run_processes("pretrain", ["--model=m", "--curves=c", odd, "--start=s", "--help", "-"], 2)
    assert (folder / "m" / "sum").read_text() == "3 of 2"
    assert f"words|pretrain|--model=m|--curves=c|{odd}|--start=s|--help|-\n" in capfd.readouterr().out
    assert not (folder / "bad").exists()


@pytest.mark.slow
def test_the_real_command_says_what_is_wrong_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="section 'pretrain' has no key 'lrr'") as caught:
        run_processes("pretrain", ["--set=lrr=1"], 2)
    assert not str(caught.value).startswith("cavmae")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("wrong", InputError, r"^params.yaml: 'lrr' is unknown$"),
        ("elsewhere", InputError, r"^too few GPUs$"),
        ("crash", StepFailed, r"^RuntimeError: CUDA out of memory.$"),
        ("kill", StepFailed, r"^process 1 of 2 was killed and could say nothing; was there too little memory\?$"),
    ],
)
def test_the_error_is_the_step_s_own_though_the_others_are_stopped(
    folder: Path, how: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run_processes("pretrain", [f"--how={how}", "--rank=1", f"--kept={folder}"], 2)
    assert not running_in(folder)


@pytest.mark.slow
def test_sigterm_is_passed_on_once_and_waited_for(folder: Path) -> None:
    def stop() -> None:
        wait_until(lambda: (folder / "ready-0").exists() and (folder / "ready-1").exists())
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop).start()
    with pytest.raises(Interrupted, match=r"^stopped at step 7$"):
        run_processes("pretrain", ["--how=wait", f"--kept={folder}"], 2)
    assert [(folder / f"step-{rank}").read_text() for rank in (0, 1)] == ["7", "7"]
    assert signal.getsignal(signal.SIGTERM) is before
    run_processes("pretrain", ["--how=wait", f"--kept={folder}"], 2)  # and goes on


def test_sigterm_before_torchrun_listens_ends_it_too(folder: Path) -> None:
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Interrupted, match="asked to stop before it could save"):
        run_processes("pretrain", ["--how=wait", f"--kept={folder}"], 2)
    assert not (folder / "ready-0").exists()


def test_no_processes_are_refused() -> None:
    with pytest.raises(InputError, match="0 processes; give at least 1"):
        run_processes("pretrain", [], 0)


def test_torchrun_that_cannot_begin_is_not_taken_for_a_killed_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchrun.sys, "executable", "/bin/false")
    with pytest.raises(StepFailed, match="torchrun ended with exit code 1 before pretrain began"):
        run_processes("pretrain", [], 2)


def endings(*ended: tuple[int | None, str], together: int = 0) -> list[torchrun._Ending]:
    """Processes that ended one after the other; of those `together` (these alone unless told) more never began."""
    together = together or len(ended)
    return [torchrun._Ending(rank, together, code, message, float(rank)) for rank, (code, message) in enumerate(ended)]


@pytest.mark.parametrize(
    ("ended", "kind", "message"),
    [
        (endings((75, "saved"), (1, "why")), StepFailed, r"^why$"),
        (endings((1, "why"), (1, "another process is gone")), StepFailed, r"^why$"),
        (list(reversed(endings((1, "why"), (1, "another process is gone")))), StepFailed, r"^why$"),
        (endings((1, ""), (1, "what all say is said once")), StepFailed, r"^what all say is said once$"),
        (endings((1, "another process is gone"), (None, "")), StepFailed, r"gone; process 1 of 2 ended without a word$"),
        (endings((1, "connection closed by peer"), (2, "wrong")), InputError, r"^wrong$"),
        (endings((2, ""), (2, "wrong"), (None, "")), InputError, r"^wrong$"),
        (endings((75, "saved"), (None, "")), StepFailed, r"^process 1 of 2 was killed"),
        (endings((0, ""), (None, "")), StepFailed, r"^process 1 of 2 was killed"),
        (endings((None, ""), (None, "")), StepFailed, r"^process 0, 1 of 2 was killed"),
        (endings((None, ""), together=2), StepFailed, r"^process 0 of 2 was killed"),
        (endings((1, "why"), (None, ""), together=3), StepFailed, r"^why; process 1 of 3 ended without a word$"),
        (endings((75, ""), (75, "saved")), Interrupted, r"^saved$"),
        (endings((1, "")), StepFailed, r"^pretrain failed without a word$"),
    ],
)
def test_the_reason_is_found_among_the_endings(ended: list[torchrun._Ending], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        torchrun._conclude("pretrain", ended, 1, asked=False)


def test_whoever_was_asked_to_stop_was_interrupted_whatever_the_processes_made_of_it() -> None:
    for ended in (endings((1, "peer left"), (75, "stopped at step 7")), endings((None, "")), []):
        with pytest.raises(Interrupted, match=r"stopped at step 7|before it could save"):
            torchrun._conclude("pretrain", ended, 1, asked=True)


def test_a_step_that_was_done_when_torchrun_was_asked_to_stop_is_done() -> None:
    torchrun._conclude("pretrain", endings((0, ""), (0, "")), 1, asked=True)
    with pytest.raises(Interrupted):
        torchrun._conclude("pretrain", endings((0, ""), (None, "")), 1, asked=True)
    with pytest.raises(Interrupted):
        torchrun._conclude("pretrain", endings((0, ""), together=2), 1, asked=True)


def test_a_node_outside_a_trainjob_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PET_NNODES", raising=False)
    assert torchrun.main(["pretrain"]) == 2
    assert capsys.readouterr().err.startswith("cavmae pretrain: PET_NNODES is not set")


def test_a_node_that_nobody_follows_any_more_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = tmp_path / "followed"
    followed.touch()
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(torchrun.os, "kill", lambda process, number: sent.append((process, number)))
    thread = threading.Thread(target=torchrun._leave_when_unfollowed, args=(followed, 0.5), daemon=True)
    thread.start()
    for stamp in range(1, 16):
        time.sleep(0.1)
        os.utime(followed, (stamp, stamp))  # clocks that differ do not matter, only that the time changes
    assert sent == []
    followed.unlink()  # the folder was removed: nobody follows either
    thread.join(5)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def running_in(folder: Path) -> list[str]:
    """The command lines of all processes but this one whose current folder is `folder`."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and process.name != str(os.getpid()):
                lines.append((process / "cmdline").read_text(errors="replace"))
        except OSError:
            continue
    return lines
