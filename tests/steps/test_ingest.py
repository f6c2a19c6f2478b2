"""Step ingest as a command: killed at any moment it ends as if nothing had happened, and wrong input is said in one line."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cavmae.dataset.schema import CLIPS, QUARANTINE, read_rows
from tests.dataset.made import blob, table
from tests.steps.command import contents, group_ends, kill_in_the_middle, run, start

SAMPLE = ["ingest", "--source", "sample", "--set", "sample.clips=24", "--set", "sample.seconds=0.5", "--set", "sample.size=16"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(6):
        blob(tmp_path / "v" / "dog" / f"{number}.mp4")
    return tmp_path


def test_killed_at_random_moments_the_sample_set_ends_byte_for_byte_the_same(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    (killed / "out").mkdir(parents=True)
    rng = random.Random(0)
    arguments = [*SAMPLE, "--out", "out"]
    assert run(arguments, alone)[0] == 0
    hits = [kill_in_the_middle(arguments, killed, killed / "out", files, rng) for files in (3, 8, 6)]
    assert any(hits)
    code, said = run(arguments, killed)
    assert code == 0, said
    assert contents(killed / "out") == contents(alone / "out")
    assert len(list(read_rows(killed / "out" / "clips.parquet", CLIPS))) >= 24


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    process = start([*SAMPLE, "--out", "out"], tmp_path)
    while not list(tmp_path.glob("out/sample/*.mp4*")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert group_ends(process.pid)


def test_ctrl_c_ends_it_in_one_line(tmp_path: Path) -> None:
    process = start([*SAMPLE, "--out", "out"], tmp_path)
    while not (tmp_path / "out" / "sample" / "recipe.json").exists():
        time.sleep(0.002)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.splitlines()) == (130, ["cavmae ingest: stopped; run the same command to continue"])
    assert not list(tmp_path.rglob("*.partial"))


def test_a_folder_may_be_called_by_a_number(files: Path) -> None:
    (files / "v").rename(files / "2024")
    code, said = run(["ingest", "--source", "2024", "--out", "out"], files)
    assert code == 0, said
    assert len(list(read_rows(files / "out" / "clips.parquet", CLIPS))) == 6
    assert list(read_rows(files / "out" / "quarantine.parquet", QUARANTINE)) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--source", "nothing"], 2, "source nothing: no such file or folder"),
        (["--source", "empty"], 2, "source empty: the folder holds no files"),
        (["--source", "texts"], 2, "none of its 1 inputs is a media file that can be read (1 not_media"),
        (["--source", "wrong.csv"], 2, "wrong.csv, row 2: column 'path' is missing"),
        (["--source", "v", "--set", "ingest.nope=1"], 2, "section 'ingest' has no key 'nope'"),
        (["--source", "v", "--out", "wrong.csv/out"], 1, "wrong.csv/out: Not a directory"),
    ],
)
def test_wrong_input_and_failures_are_said_in_one_line_with_their_exit_code(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    from cavmae.cli import main
    from tests.dataset.made import DEFAULTS

    (files / "empty").mkdir()
    (files / "texts").mkdir()
    (files / "texts" / "a.txt").write_text("text")
    table(files / "wrong.csv", [("a.mp4", "dog")], "file,labels")
    monkeypatch.chdir(files)
    assert main(["ingest", *arguments, "--params", str(DEFAULTS)]) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("cavmae ingest: ") and says in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_an_output_that_cannot_be_written_is_said_before_any_file_is_hashed(files: Path) -> None:
    sealed = files / "sealed"
    sealed.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(sealed)], capture_output=True).returncode:
        pytest.skip("no right to mount a read-only file system")
    try:
        code, said = run(["ingest", "--source", "v", "--out", "sealed/out"], files)
    finally:
        subprocess.run(["umount", str(sealed)], check=True)
    assert code == 1
    assert said.splitlines()[-1] == "cavmae ingest: sealed/out: Read-only file system"
    assert "hashing" not in said
