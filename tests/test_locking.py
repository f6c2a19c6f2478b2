"""Two equal commands wait for one another, and a killed one holds nobody up."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cavmae import locking
from cavmae.locking import alone

_HOLDER = """
import sys
from cavmae.locking import alone
with alone("training", "key"):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def test_a_second_one_waits_until_the_first_is_killed_and_says_for_whom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "holds\n"
    monkeypatch.setattr(locking.time, "sleep", lambda _: (holder.kill(), holder.wait()))  # it was seen to be held before
    with alone("training", "key"):
        assert holder.returncode == -signal.SIGKILL
    assert f"at work here already (process {holder.pid}); waiting for its end" in caplog.text


def test_other_work_does_not_wait() -> None:
    with alone("training", "one"), alone("training", "two"):
        pass


def test_threads_of_one_process_wait_as_well() -> None:
    order: list[str] = []

    def second() -> None:
        with alone("training", "key"):
            order.append("second")

    with alone("training", "key"):
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_where_no_lock_can_be_had_the_work_goes_on(
    work: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.write_text("a file in the place of the folder")
    with caplog.at_level(logging.DEBUG, logger=locking.__name__), alone("training", "key"):
        pass
    work.unlink()

    def knows_none(handle: int, how: int) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(locking.fcntl, "flock", knows_none)
    with caplog.at_level(logging.DEBUG, logger=locking.__name__), alone("training", "key"):
        pass
    assert "works without a lock" in caplog.text and "knows no locks" in caplog.text
