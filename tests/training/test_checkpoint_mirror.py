"""Checkpoints at a second place: there when this machine is gone, whole or passed over, and never in the way of the training."""

import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cavmae import stores_s3
from cavmae.errors import InputError, StepFailed
from cavmae.stores import Store, open_store
from cavmae.stores_folder import FolderStore
from cavmae.training.checkpoint import Checkpoints
from cavmae.training.checkpoint_mirror import VARIABLE
from tests.models.promoting import keep_connections
from tests.s3_service import S3Service
from tests.training.toy import Toy, toy_engine


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The second place, named by the environment: a folder, or a prefix on a real S3 service."""
    where = str(tmp_path / "second")
    if request.param == "s3":
        where = f"s3://{request.getfixturevalue('s3_server').bucket()}/checkpoints/"
        keep_connections(monkeypatch)
    monkeypatch.setenv(VARIABLE, where)
    return where


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work" / "pretrain" / "0123456789abcdef"


def there(place: str) -> Store:
    return open_store(f"{place.rstrip('/')}/pretrain/0123456789abcdef")


def state(step: int) -> dict[str, Any]:
    return {"step": step, "w": torch.full((50,), float(step))}


def saved(folder: Path, *steps: int) -> Checkpoints:
    """Checkpoints of some steps, every one copied before the next."""
    checkpoints = Checkpoints(folder)
    for step in steps:
        (folder / f"epoch-{step:04d}.safetensors").write_text(f"weights of {step}")
        checkpoints.save(step, state(step))
        checkpoints.wait()
    return checkpoints


def loaded(folder: Path) -> int | None:
    """The step that a new process continues from."""
    found = Checkpoints(folder).load()
    assert found is None or torch.equal(found["w"], state(found["step"])["w"])
    return found and found["step"]


def one(place: str, start: str) -> str:
    (name,) = [name for name in there(place).names(start) if not name.endswith(".json")]
    return name


def test_the_last_two_are_there_with_the_weights_of_all_kept_epochs(place: str, folder: Path) -> None:
    saved(folder, 1, 2, 3)
    names = list(there(place).names())
    assert [name for name in names if name.endswith(".json")] == ["step-000000002.json", "step-000000003.json"]
    assert sorted(name[:14] for name in names if name.endswith(".pt")) == ["step-000000002", "step-000000003"]
    assert sorted(name[:10] for name in names if name.startswith("epoch")) == ["epoch-0001", "epoch-0002", "epoch-0003"]
    assert len(names) == 7
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-000000002.pt", "step-000000003.pt"]


def test_a_machine_that_has_nothing_continues_from_there(place: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(folder, 1, 2)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    with caplog.at_level(logging.INFO):
        assert loaded(folder) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: content for name, content in kept.items() if name != "step-000000001.pt"
    }
    assert "the checkpoint of step 2 comes from" in caplog.text


def test_the_newer_one_counts_wherever_it_is(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(folder, 1, 2)
    monkeypatch.delenv(VARIABLE)
    saved(folder, 3)
    monkeypatch.setenv(VARIABLE, place)
    assert loaded(folder) == 3
    (folder / "step-000000003.pt").unlink()
    (folder / "step-000000002.pt").unlink()
    assert sorted(path.name for path in folder.glob("step-*")) == []
    assert loaded(folder) == 2


@pytest.mark.parametrize("lost", ["step", "epoch", "list"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_one_that_is_not_whole_is_passed_over_for_the_one_before(
    place: str, folder: Path, caplog: pytest.LogCaptureFixture, lost: str, how: str
) -> None:
    saved(folder, 1, 2)
    shutil.rmtree(folder)
    name = {"step": one(place, "step-000000002-"), "epoch": one(place, "epoch-0002-"), "list": "step-000000002.json"}[lost]
    content = there(place).read(name)
    if how == "missing":
        there(place).delete(name)
    else:
        there(place).write(name, content[: len(content) // 2])
    assert loaded(folder) == 1
    assert ("step 2 at" in caplog.text and "is not whole" in caplog.text) == ((lost, how) != ("list", "missing"))
    assert list(there(place).names("step-000000002.")) == [], "nobody tries it again"
    assert not list(folder.glob("*.partial")) and not (folder / "step-000000002.pt").exists()
    assert loaded(folder) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"../../step-000000009.pt": "0" * 64},
        {"/etc/passwd": "0" * 64},
        {"step-000000001.pt": "0" * 64},
        {"step-000000009.pt": "../../../x"},
        {},
    ],
)
def test_a_hostile_list_is_passed_over(place: str, folder: Path, tmp_path: Path, files: dict[str, str]) -> None:
    saved(folder, 1)
    shutil.rmtree(folder)
    there(place).write("step-000000009.json", json.dumps({"format": 1, "files": files}).encode())
    before = set(tmp_path.rglob("*"))
    assert loaded(folder) == 1
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert {path.name for path in written} == {"step-000000001.pt", "epoch-0001.safetensors"}


def test_a_pickle_that_was_put_there_is_not_run(place: str, folder: Path, tmp_path: Path) -> None:
    saved(folder, 1)
    shutil.rmtree(folder)

    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"w": Hostile()}, tmp_path / "step-000000002.pt")
    second = Checkpoints(tmp_path / "pretrain" / "0123456789abcdef")
    shutil.copy(tmp_path / "step-000000002.pt", second.folder)
    assert second._mirror is not None
    second._mirror.offer(second.folder / "step-000000002.pt")
    second.wait()
    assert "step-000000002.json" in list(there(place).names())
    assert loaded(folder) == 1 and not (tmp_path / "ran").exists()


def test_one_that_is_damaged_here_comes_from_there(place: str, folder: Path) -> None:
    saved(folder, 1, 2)
    (folder / "step-000000002.pt").write_bytes(b"u.")
    assert loaded(folder) == 2


def test_a_finished_run_leaves_nothing_there_but_what_others_put(place: str, folder: Path) -> None:
    checkpoints = saved(folder, 1, 2)
    there(place).write("notes.txt", b"mine")
    checkpoints.remove()
    assert list(there(place).names()) == ["notes.txt"] and not folder.exists()
    there(place).delete("notes.txt")
    saved(folder, 1).remove()
    assert not place.startswith("/") or not Path(there(place).location).exists()


def test_what_a_run_left_that_was_killed_while_it_copied_goes_in_the_end(place: str, folder: Path) -> None:
    there(place).write(f"step-000000001-{'0' * 16}.pt", b"half of a checkpoint")
    checkpoints = saved(folder, 2)
    assert len(list(there(place).names())) == 4
    checkpoints.remove()
    assert list(there(place).names()) == []


class Slow:
    """Holds every copy until it is let go, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun, self.copied = threading.Event(), threading.Event(), list[str]()
        real = FolderStore.put

        def put(store: FolderStore, name: str, path: Path) -> None:
            self.begun.set()
            assert self.go.wait(30)
            self.copied.append(name[:14])
            real(store, name, path)

        monkeypatch.setattr(FolderStore, "put", put)


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_training_does_not_wait_and_only_the_newest_waits_for_its_turn(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, state(1))
    assert slow.begun.wait(30)
    started = time.monotonic()
    for step in range(2, 9):
        checkpoints.save(step, state(step))
    assert time.monotonic() - started < 20 and slow.copied == []
    here = sorted(path.name for path in folder.glob("step-*"))
    assert here == ["step-000000001.pt", "step-000000007.pt", "step-000000008.pt"], "what is being copied stays"
    slow.go.set()
    checkpoints.wait()
    assert slow.copied == ["step-000000001", "step-000000008"]
    checkpoints.save(9, state(9))
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-000000008.pt", "step-000000009.pt"]
    checkpoints.wait()
    shutil.rmtree(folder)
    assert loaded(folder) == 9


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_run_that_ends_while_one_is_copied_removes_that_too(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    checkpoints = Checkpoints(folder)
    for step in (1, 2):
        checkpoints.save(step, state(step))
        assert slow.begun.wait(30)
    threading.Timer(0.2, slow.go.set).start()
    checkpoints.remove()
    assert slow.copied == ["step-000000001"] and list(there(place).names()) == [] and not folder.exists()


def test_a_stop_by_signal_waits_until_the_last_one_is_there(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    from cavmae.errors import Interrupted

    class Stopped(Toy):
        def loss(self, batch: Any, device: torch.device) -> Any:
            if len(self.seen) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().loss(batch, device)

    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    engine = toy_engine(Stopped(values), tmp_path, epochs=3, checkpoint_s=1e9, keep_epochs=3)
    with pytest.raises(Interrupted, match="stopped at step 3 of 9"):
        engine.run("toy")
    store = open_store(f"{place.rstrip('/')}/{tmp_path.name}/work")
    assert "step-000000003.json" in list(store.names())
    shutil.rmtree(tmp_path / "work")
    resumed = toy_engine(Toy(values), tmp_path, epochs=3, keep_epochs=3)
    rows = resumed.run("toy")
    monkeypatch.delenv(VARIABLE)
    undisturbed = toy_engine(Toy(values), tmp_path / "other", epochs=3, keep_epochs=3)
    assert undisturbed.run("toy") == rows
    for epoch in (1, 2, 3):
        assert resumed.epoch_weights(epoch).read_bytes() == undisturbed.epoch_weights(epoch).read_bytes()


def test_a_store_that_fails_costs_a_warning_and_the_next_copy_makes_up_for_it(
    place: str, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(folder, 1)
    kind = type(there(place))
    for error in (StepFailed("s3://b: the service cannot be reached"), OSError(28, "No space"), RuntimeError("a bug\nof theirs")):
        with monkeypatch.context() as broken:
            broken.setattr(kind, "put", lambda *_, error=error: (_ for _ in ()).throw(error))
            checkpoints.save(2, state(2))
            checkpoints.wait()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 3 and all("could not be copied" in line and "training goes on" in line for line in warnings)
    assert not any("\n" in line for line in warnings)
    (folder / "epoch-0002.safetensors").write_text("weights of 2")
    checkpoints.save(3, state(3))
    checkpoints.wait()
    shutil.rmtree(folder)
    assert loaded(folder) == 3 and (folder / "epoch-0002.safetensors").is_file()


def test_what_cannot_be_removed_costs_a_warning(
    place: str, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(folder, 1)
    with monkeypatch.context() as broken:
        broken.setattr(type(there(place)), "delete", lambda *_: (_ for _ in ()).throw(StepFailed("not today")))
        checkpoints.remove()
    assert "delete them by hand: not today" in caplog.text and not folder.exists()


def test_a_run_that_is_replaced_while_it_still_works_is_followed(
    place: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = saved(folder, 1, 2)
    kind, other = type(there(place)), tmp_path / "other" / "pretrain" / "0123456789abcdef"
    real = kind.read

    def read(store: Store, name: str) -> bytes:
        monkeypatch.setattr(kind, "read", real)
        for step in (3, 4):  # both that the new process has just seen are gone then
            old.save(step, state(step))
            old.wait()
        return real(store, name)

    monkeypatch.setattr(kind, "read", read)
    assert loaded(other) == 4


def test_a_place_that_cannot_be_looked_at_ends_the_run_before_it_begins(
    s3_server: S3Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "s3://t-no-such-bucket/checkpoints")
    with pytest.raises(InputError, match="there is no such bucket"):
        Checkpoints(folder).load()
    monkeypatch.setenv(VARIABLE, "gs://bucket")
    with pytest.raises(InputError, match=r"CAVMAE_CHECKPOINTS: 'gs://bucket/.*is no place for files"):
        Checkpoints(folder)
    monkeypatch.setenv(VARIABLE, "s3://some-bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(stores_s3, "_RETRIES", {"mode": "standard", "max_attempts": 1})
    with pytest.raises(StepFailed, match="cannot be reached"):
        Checkpoints(folder).load()


def test_the_work_folder_is_no_second_place_for_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(folder.parents[1]))
    saved(folder, 1, 2, 3)
    assert len(list(folder.glob("step-*"))) == 2 and not list(folder.glob("*.json"))
    assert loaded(folder) == 3
