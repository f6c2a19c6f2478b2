"""`dvc repro` goes on after whatever was killed before, without a step by hand."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from pipelines.dvc_repro import make_ready

GOOD = "schema: '2.0'\nstages:\n  one:\n    cmd: cavmae one\n"


def rwlock(folder: Path, *numbers: int) -> Path:
    path = folder / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"pid": number, "cmd": "dvc repro"} for number in numbers]
    path.write_text(json.dumps({"write": {f"out{at}": entry for at, entry in enumerate(entries)}, "read": {"in": entries}}))
    return path


@pytest.mark.parametrize(
    "content", ["", GOOD[:20], GOOD[:36], "schema: '2.0'\nstages:\n  one:\n    cm: c\n", "a: [", "\0\0\0", "[]"]
)
def test_half_of_a_dvc_lock_is_put_aside(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dvc.lock").write_text(content)
    make_ready(tmp_path)
    assert not (tmp_path / "dvc.lock").exists() and (tmp_path / ".dvc/tmp/dvc.lock.broken").read_text() == content
    assert "a killed dvc left only a part of it" in capsys.readouterr().err


def test_wherever_a_dvc_lock_was_cut_dvc_reads_what_is_left(tmp_path: Path) -> None:
    whole = GOOD + (
        "    deps:\n    - path: in\n      hash: md5\n      md5: 0a1b\n      size: 3\n"
        "    params:\n      params.yaml:\n        a.b: 1\n"
    )
    kept = 0
    for length in range(len(whole) + 1):
        (tmp_path / "dvc.lock").write_text(whole[:length])
        make_ready(tmp_path)
        if (tmp_path / "dvc.lock").exists():
            kept += 1
            COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(whole[:length]))  # raises where it is not one
    assert (tmp_path / "dvc.lock").exists() and kept < len(whole)


def test_a_whole_one_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dvc.lock").write_text(GOOD)
    make_ready(tmp_path)
    make_ready(tmp_path)
    assert (tmp_path / "dvc.lock").read_text() == GOOD and capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["", '{"write": {"a"', '{"write": [1]}', "[]", '{"read": {"a": [{"pid": "x"}]}}'])
def test_half_of_an_rwlock_is_removed(tmp_path: Path, content: str) -> None:
    path = rwlock(tmp_path)
    path.write_text(content)
    make_ready(tmp_path)
    assert not path.exists()


def test_numbers_of_killed_ones_that_others_have_now_hold_nobody_up(tmp_path: Path) -> None:
    path = rwlock(tmp_path, os.getpid(), os.getppid(), 2**22 - 1)
    make_ready(tmp_path)
    assert not path.exists()


def test_one_that_works_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "dvc"
    program.write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
    other = subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"up\n"
    path = rwlock(tmp_path, other.pid)
    monkeypatch.setattr("pipelines.dvc_repro.time.sleep", lambda _: (other.kill(), other.wait()))
    make_ready(tmp_path)
    assert other.returncode == -signal.SIGKILL and not path.exists()
    assert f"dvc is at work here already (process {other.pid}); waiting" in capsys.readouterr().err


# DVC with a fault: it dies in the middle of writing one of its own notes
_DYING = """
import os, signal, sys
wanted, at = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = ["repro"]
def hear(event, arguments):
    global at
    if event == "open" and str(arguments[0]).endswith(wanted) and arguments[1] and "w" in str(arguments[1]):
        at -= 1
        if at == 0:
            open(arguments[0], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hear)
from dvc.cli import main
sys.exit(main())
"""
STAGES = """
stages:
  one:
    cmd: echo 1 > one
    outs: [one]
  two:
    cmd: cat one one > two
    deps: [one]
    outs: [two]
"""


@pytest.mark.slow
@pytest.mark.parametrize(("file", "at"), [("dvc.lock", 1), ("dvc.lock", 2), ("rwlock", 1), ("rwlock", 4), ("rwlock", 5)])
def test_a_dvc_that_dies_while_it_takes_notes(tmp_path: Path, file: str, at: int) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        where: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
        path = os.environ.get("PYTHONPATH", "")
        return subprocess.run(words, env={**os.environ, "PYTHONPATH": f"{os.getcwd()}:{path}"}, **where)

    (tmp_path / "dvc.yaml").write_text(STAGES)
    assert run("git", "init", "-q").returncode == 0 and run("dvc", "init", "-q").returncode == 0
    died = run(sys.executable, "-c", _DYING, file, str(at))
    assert died.returncode == -signal.SIGKILL, died.stderr
    plain = run("dvc", "status")
    done = run(sys.executable, "-m", "pipelines.dvc_repro")
    assert done.returncode == 0, done.stderr + plain.stderr
    assert (tmp_path / "two").read_text() == "1\n1\n"
    assert "up to date" in run("dvc", "status").stdout
