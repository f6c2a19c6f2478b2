"""What ingest remembers where every run has a folder of its own: ids, splits, shards, hashes."""

import shutil
from pathlib import Path

import pytest

from cavmae.dataset import examining, hashing
from cavmae.dataset import memory as module
from cavmae.dataset.memory import Memory
from cavmae.errors import InputError, StepFailed
from cavmae.stores import open_store
from tests.dataset.made import blob, ingested
from tests.s3_service import S3Service


@pytest.fixture(params=["folder", "s3"])
def memory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAVMAE_WORK", raising=False)
    if request.param == "folder":
        return "memory"
    service: S3Service = request.getfixturevalue("s3_server")
    return f"s3://{service.bucket()}/memory"


def fill(count: int) -> None:
    for label in ("dog", "cat"):
        for number in range(count):
            if not (path := Path("v") / label / f"{number}.mp4").exists():
                blob(path)


def another_machine(folder: str) -> None:
    shutil.rmtree(".cavmae", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_run_in_a_new_place_goes_on_where_the_last_one_was(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(10)
    before, _ = ingested("v", Path("out"), f"memory={memory}", "shard_clips=4")
    another_machine("out")
    fill(16)
    blob(Path("v/ant/0.mp4"))
    read: list[Path] = []
    real = hashing.sha256_file
    monkeypatch.setattr(hashing, "sha256_file", lambda path: (read.append(path), real(path))[1])
    after, _ = ingested("v", Path("out"), f"memory={memory}", "shard_clips=4")
    kept = {row["path"]: row for row in after}
    assert all(kept[row["path"]] == row for row in before) and len(after) == 33
    assert len(read) == 13, "what was hashed elsewhere is not hashed again"
    assert Path("out/labels.csv").read_text().split() == ["index,mid,display_name", "0,cat,cat", "1,dog,dog", "2,ant,ant"]
    # without it, another place would have placed them anew
    fresh, _ = ingested("v", Path("fresh"), "shard_clips=4")
    assert any(row["split"] != kept[row["path"]]["split"] or row["shard"] != kept[row["path"]]["shard"] for row in fresh)


def test_a_run_that_changes_nothing_adds_nothing(memory: str) -> None:
    fill(3)
    ingested("v", Path("out"), f"memory={memory}")
    names = list(open_store(memory).names())
    another_machine("out")
    ingested("v", Path("out"), f"memory={memory}")
    assert list(open_store(memory).names()) == names


def test_of_two_runs_at_once_the_second_fails_and_forgets_nothing(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(3)
    ingested("v", Path("out"), f"memory={memory}")
    real = Memory.keep

    def meanwhile(self: Memory, out: Path, journals: list[Path]) -> None:
        monkeypatch.setattr(module.Memory, "keep", real)
        blob(Path("v/dog/other.mp4"))
        ingested("v", Path("theirs"), f"memory={memory}")
        real(self, out, journals)

    monkeypatch.setattr(module.Memory, "keep", meanwhile)
    blob(Path("v/dog/mine.mp4"))
    with pytest.raises(StepFailed, match=r"latest\.json: another run of ingest wrote it meanwhile; run the command again"):
        ingested("v", Path("mine"), f"memory={memory}")
    clips, _ = ingested("v", Path("mine"), f"memory={memory}")
    assert {row["name"] for row in clips} >= {"mine", "other"}


def test_the_memory_of_another_source_is_refused(memory: str) -> None:
    fill(3)
    ingested("v", Path("out"), f"memory={memory}")
    Path("v").rename("w")
    with pytest.raises(InputError, match=r"remembers another source.*name another memory"):
        ingested("w", Path("other"), f"memory={memory}")
    open_store(memory).write("latest.json", b"[]")
    with pytest.raises(InputError, match="is no memory of `cavmae ingest`"):
        ingested("w", Path("other"), f"memory={memory}")


def test_objects_that_were_read_elsewhere_are_not_read_again(
    s3_server: S3Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bucket = s3_server.bucket()
    s3_server.client().put_object(Bucket=bucket, Key="v/a.mp4", Body=b"\0media")
    ingested(f"s3://{bucket}/v", Path("out"), "memory=memory")
    another_machine("out")
    monkeypatch.setattr(examining.Examination, "_read", lambda self, file: pytest.fail(f"{file.shown} was read again"))
    assert len(ingested(f"s3://{bucket}/v", Path("out"), "memory=memory")[0]) == 1
