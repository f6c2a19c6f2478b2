"""`make airflow`: it says where the page is and the password once, and Ctrl-C leaves nothing behind."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dags.standalone import PARTS
from tests.conftest import REPOSITORY
from tests.dags.airflow_here import ENVIRONMENT, NEEDED, free_port

pytestmark = NEEDED


def of_home(home: Path) -> Iterator[int]:
    """The processes whose Airflow lies in that folder."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"AIRFLOW_HOME={home}\0".encode() in (folder / "environ").read_bytes():
                yield int(folder.name)
        except OSError:
            continue


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/version", timeout=5):
            return True
    except OSError:
        return False


def once(home: Path) -> str:
    """Start it, wait for its page, press Ctrl-C; return what it said."""
    port = free_port()
    words = [str(ENVIRONMENT / "bin" / "python"), "-m", "dags.standalone", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.5)
        assert len(list(of_home(home))) >= len(PARTS)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0 and "Traceback" not in said, said
    assert list(of_home(home)) == []
    return said


def test_it_is_started_and_ended_twice(tmp_path: Path) -> None:
    first, second = once(tmp_path / "home"), once(tmp_path / "home")
    assert first.count(", password ") == 1 and "password" not in second
    assert "http://localhost:" in first and len(second.splitlines()) == 3
