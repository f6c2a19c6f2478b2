"""The pool of decoding processes: a clip that kills or stops its process is quarantined, and the others survive."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cavmae.dataset.extraction import clip_settings
from cavmae.dataset.pool import Writer, write_shards
from cavmae.dataset.schema import Row
from cavmae.dataset.shards import OnClip, ShardTask, read_row, shard_paths, write_shard
from cavmae.errors import StepFailed
from cavmae.media.clip import Clip, ClipSettings
from cavmae.storage import read_json
from tests.conftest import REPOSITORY
from tests.dataset.made import extract_params, tiny_film
from tests.dataset.test_shards import row


def _read(row: Row, settings: ClipSettings) -> Clip:
    name = row["video_id"]
    if name.startswith("kill"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("exit"):
        os._exit(3)
    if name.startswith("hang"):
        time.sleep(60)
    return read_row(row, settings)


def write_with_traps(folder: Path, task: ShardTask, on_clip: OnClip) -> None:
    write_shard(folder, task, on_clip, _read)


def write_to_a_full_disk(folder: Path, task: ShardTask, on_clip: OnClip) -> None:
    (folder / f"{task.name}.tar.{os.getpid()}.partial").touch()
    if task.name == "train-00001":
        time.sleep(60)  # the other worker, killed in the middle
    raise OSError(28, "No space left on device")


def write_nothing_and_die(folder: Path, task: ShardTask, on_clip: OnClip) -> None:
    os._exit(9)


@pytest.fixture
def tasks(tmp_path: Path) -> Callable[..., list[ShardTask]]:
    def make(*shards: str) -> list[ShardTask]:
        settings = clip_settings(extract_params())
        return [
            ShardTask(
                f"train-{number:05d}",
                [row(tiny_film(tmp_path / "films" / f"{name}.mp4")) for name in names.split()],
                settings,
                90,
                {},
            )
            for number, names in enumerate(shards)
        ]

    return make


def run(out: Path, tasks: list[ShardTask], write: Writer, timeout_s: float = 60.0, workers: int = 1) -> tuple[set[str], int]:
    out.mkdir(exist_ok=True)
    heard: list[int] = []
    done = set(write_shards(out, tasks, workers, timeout_s, lambda: heard.append(1), write))
    return done, len(heard)


def fates(out: Path, name: str) -> dict[str, str]:
    record = read_json(shard_paths(out, name)[1])
    return {**dict.fromkeys(record["members"], "clip"), **{one["video_id"]: one["reason"] for one in record["quarantine"]}}


def test_clips_that_kill_or_stop_their_process_are_quarantined_and_the_others_survive(
    tmp_path: Path, tasks: Callable[..., list[ShardTask]]
) -> None:
    jobs = tasks("a kill1 b exit1 c", "d hang1 e")
    done, heard = run(tmp_path / "out", jobs, write_with_traps, timeout_s=1.5, workers=2)
    assert done == {"train-00000", "train-00001"}
    assert fates(tmp_path / "out", "train-00000") == {
        "a": "clip", "b": "clip", "c": "clip", "kill1": "decoder_crashed", "exit1": "decoder_crashed",
    }  # fmt: skip
    assert fates(tmp_path / "out", "train-00001") == {"d": "clip", "e": "clip", "hang1": "decoder_timeout"}
    assert heard == 8  # each clip once, however often its shard starts over
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_full_disk_is_said_in_one_line_and_nothing_half_is_left(tmp_path: Path, tasks: Callable[..., list[ShardTask]]) -> None:
    with pytest.raises(StepFailed, match=r"shard train-00000 cannot be written to .* \(No space left on device\)$"):
        run(tmp_path / "out", tasks("a", "b"), write_to_a_full_disk, workers=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_process_that_dies_without_a_clip_is_no_clips_fault(tmp_path: Path, tasks: Callable[..., list[ShardTask]]) -> None:
    with pytest.raises(StepFailed, match=r"ended while it read no clip \(exit code 9\)"):
        run(tmp_path / "out", tasks("a"), write_nothing_and_die)


def test_without_work_no_process_is_started(tmp_path: Path) -> None:
    began = time.monotonic()
    assert run(tmp_path / "out", [], write_with_traps, workers=500) == (set(), 0)
    assert time.monotonic() - began < 0.3


def _blocked(pipe: Connection) -> None:
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


def test_every_worker_is_deaf_to_ctrl_c_the_first_of_a_program_too() -> None:
    code = (
        "from multiprocessing import get_context\n"
        "from cavmae.dataset.pool import deaf_children\n"
        "from tests.dataset.test_pool import _blocked\n"
        "if __name__ == '__main__':\n"
        "    context = get_context('spawn')\n"
        "    for _ in range(2):\n"
        "        ours, theirs = context.Pipe()\n"
        "        with deaf_children():\n"
        "            process = context.Process(target=_blocked, args=(theirs,))\n"
        "            process.start()\n"
        "        print(ours.recv())\n"
        "        process.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_time_in_which_everything_stood_still_is_not_held_against_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    from cavmae.dataset.pool import _Clock

    times = iter([0.0, 0.4, 600.4, 600.9])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    clock = _Clock()
    readings = []
    for _ in range(3):
        clock.tick()
        readings.append(clock.now)
    assert readings == pytest.approx([0.4, 1.4, 1.9])
