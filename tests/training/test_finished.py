"""What a finished run leaves is enough to write its outputs again, is forgotten after a day, and is in nobody's way."""

import logging
import shutil
import time
from pathlib import Path

import pytest

from cavmae.stores import open_store
from cavmae.training import finished
from cavmae.training.checkpoint_mirror import VARIABLE
from tests.models.promoting import keep_connections
from tests.s3_service import S3Service
from tests.training.tiny import same_files, tiny, train


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def finetune(out: Path, **changes: object) -> Path:
    return train("finetune", out, tiny().dataset, tiny().pretrained, **{"epochs": 2, "keep_epochs": 2, **changes})


def steps_resumed(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("resumed at step")]


def test_lost_outputs_are_written_again_without_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = finetune(tmp_path / "one")
    shutil.copytree(model, tmp_path / "right")
    shutil.copy(tmp_path / "one" / "curves.tsv", tmp_path / "right.tsv")
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            shutil.rmtree(tmp_path / "one")
            finetune(tmp_path / "one")
    assert steps_resumed(caplog) == ["resumed at step 6"] * 2
    assert same_files(model, tmp_path / "right") == []
    assert (tmp_path / "one" / "curves.tsv").read_bytes() == (tmp_path / "right.tsv").read_bytes()


def test_what_changes_no_bit_of_the_result_starts_no_other_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    finetune(tmp_path / "one")
    with caplog.at_level(logging.INFO):
        finetune(tmp_path / "two", checkpoint_s=123.0)
        finetune(tmp_path / "three", seed=1)
    assert steps_resumed(caplog) == ["resumed at step 6"]


def test_a_day_later_the_next_run_forgets_it_and_no_unfinished_one(work: Path, tmp_path: Path) -> None:
    finetune(tmp_path / "one")
    (mine,) = (work / "finetune").iterdir()
    unfinished = work / "pretrain" / "0123456789abcdef"
    unfinished.mkdir(parents=True)
    (unfinished / "step-000000001.pt").touch()
    finished.forget_finished(work / "finetune" / "another")
    assert mine.exists()
    finished.forget_finished(mine, now=time.time() + 1e6)
    assert mine.exists(), "it is about to be continued"
    finished.forget_finished(work / "finetune" / "another", now=time.time() + 1e6)
    assert not mine.exists() and (unfinished / "step-000000001.pt").exists()


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_the_same_at_the_second_place(
    place: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    where = str(tmp_path / "second")
    if place == "s3":
        server: S3Service = request.getfixturevalue("s3_server")
        where = f"s3://{server.bucket()}/checkpoints/"
        keep_connections(monkeypatch)
    monkeypatch.setenv(VARIABLE, where)
    store = open_store(where)
    store.write("notes/finished", b"not ours")
    store.write("finetune/b/finished", b"not a time")
    model = finetune(tmp_path / "one")
    (mine,) = (work / "finetune").iterdir()
    shutil.copytree(model, tmp_path / "right")
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(work)  # the machine is lost, and with it the outputs
    assert same_files(finetune(tmp_path / "one"), tmp_path / "right") == []
    names = [name for name in store.names() if name.startswith(f"finetune/{mine.name}/")]
    assert sorted(name.rpartition("/")[2].partition("-")[0] for name in names) == ["epoch", "epoch", "finished", "step", "step"]
    finished.forget_finished(mine, now=time.time() + 1e6)
    assert [name for name in store.names() if name.startswith(f"finetune/{mine.name}/")] == names
    finished.forget_finished(work / "finetune" / "another", now=time.time() + 1e6)
    assert sorted(store.names()) == ["finetune/b/finished", "notes/finished"]
