"""Step extract as a command: killed, interrupted, on a full disk, and with many clips."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cavmae.dataset.schema import CLIPS, FACTS, QUARANTINE, read_rows
from tests.dataset.made import blob, ingested, tiny_film
from tests.steps.command import contents, group_ends, kill_in_the_middle, run, start

EXTRACT = ["extract", "--clips", "i", "--set", "frames=2", "--set", "frame_size=32"]


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a manifest of 31 clips, one of them noise, in shards of four."""
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        tiny_film(Path(f"v/{number:02d}.mp4"), 0.1 + number / 50)
    blob(Path("v/noise.mp4"))
    ingested(Path("v"), Path("i"), "shard_clips=4")
    return tmp_path


def test_killed_at_random_moments_it_ends_byte_for_byte_the_same(clips: Path) -> None:
    rng = random.Random(0)
    code, said = run([*EXTRACT, "--out", "alone"], clips)
    assert code == 0 and "clips/s per worker" in said, said
    (clips / "s").mkdir()
    hits = [kill_in_the_middle([*EXTRACT, "--out", "s"], clips, clips / "s", files, rng) for files in (1, 3, 5)]
    assert any(hits)
    assert run([*EXTRACT, "--out", "s"], clips)[0] == 0
    assert contents(clips / "s") == contents(clips / "alone")
    fates = Counter(row["video_id"] for row in read_rows(clips / "s" / "facts.parquet", FACTS))
    fates.update(row["video_id"] for row in read_rows(clips / "s" / "quarantine.parquet", QUARANTINE))
    assert fates == Counter(row["video_id"] for row in read_rows(clips / "i" / "clips.parquet", CLIPS))
    assert set(fates.values()) == {1} and len(fates) == 31


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "parent alone"])
def test_ctrl_c_ends_it_in_one_line_without_leftovers(clips: Path, whole_group: bool) -> None:
    process = start([*EXTRACT, "--out", "s"], clips)
    while not list(clips.glob("s/*.partial")):
        time.sleep(0.002)
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines() == ["cavmae extract: stopped; run the same command to continue"]
    assert not list(clips.glob("s/*.partial"))


def test_no_worker_outlives_a_killed_parent(clips: Path) -> None:
    process = start([*EXTRACT, "--out", "s"], clips)
    while not list(clips.glob("s/*.partial")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert group_ends(process.pid)


def test_a_file_that_may_grow_no_further_is_a_failure_in_one_line(clips: Path) -> None:
    limited = subprocess.run(
        [sys.executable, "-m", "cavmae", *EXTRACT, "--out", "s", "--params", str(Path(__file__).parents[2] / "params.yaml")],
        cwd=clips, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )  # fmt: skip
    assert limited.returncode == 1
    (line,) = limited.stderr.splitlines()
    assert line.startswith("cavmae extract: shard ") and line.endswith("cannot be written to s (File too large)")
    assert list((clips / "s").glob("*.tar*")) == []


def test_a_full_disk_is_a_failure_in_one_line_and_the_rest_is_made_when_there_is_room(clips: Path) -> None:
    disk = clips / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        code, said = run([*EXTRACT, "--out", "disk/s"], clips)
        assert code == 1
        assert said.splitlines()[-1].endswith("(No space left on device)") and len(said.splitlines()) == 1
        assert not list(disk.glob("s/*.partial"))
        assert {tar.stem for tar in disk.glob("s/*.tar")} == {record.stem for record in disk.glob("s/*.json")}
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert run([*EXTRACT, "--out", "disk/s"], clips)[0] == 0
        assert run([*EXTRACT, "--out", "alone"], clips)[0] == 0
        assert contents(disk / "s") == contents(clips / "alone")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    peaks = []
    for count in (100, 600):
        for number in range(count):
            tiny_film(Path(f"v{count}/{number:03d}.mp4"), 0.05 + number / 1000)
        ingested(Path(f"v{count}"), Path(f"i{count}"), "shard_clips=16")
        process = start([*EXTRACT[:2], f"i{count}", *EXTRACT[3:], "--out", f"s{count}"], tmp_path)
        peak: dict[str, int] = {}
        while process.poll() is None:
            # the newest reading is the peak; an older one may be of the moment before the process became what it is
            peak.update(_resident_kb(process.pid))
            time.sleep(0.02)
        process.communicate()
        assert process.returncode == 0
        peaks.append(sum(peak.values()) / 1024)
    assert peaks[1] < peaks[0] + 25, f"MiB for 100 and for 600 clips: {peaks}"


def _resident_kb(group: int) -> dict[str, int]:
    """Peak resident memory of each process of a group, in KiB."""
    sizes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                status = (folder / "status").read_text()
                sizes[folder.name] = int(status.partition("VmHWM:")[2].split()[0])
        except (OSError, IndexError):
            continue  # it has ended
    return sizes
