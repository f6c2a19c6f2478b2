"""What reads the data, and from where, changes nothing in the weights: any readers, shards here or on S3."""

import json
import signal
import threading
from pathlib import Path

import pytest

from cavmae.errors import Interrupted
from cavmae.stores_s3 import S3Store
from cavmae.training.stepping import Stepper, Taken
from tests.s3_service import S3Service
from tests.threads import ended
from tests.training.tiny import on_s3, tiny, train

# a buffer of fewer clips than the split has: shards one after another
STREAMED = {"shuffle_buffer": 16, "batch_size": 5, "epochs": 2, "noise": "true", "roll": 4, "mask_mode": "tf"}


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def trained(out: Path, dataset: Path | None = None, **changes: object) -> bytes:
    model = train("pretrain", out, dataset or tiny().dataset, tiny().adapted, **{**STREAMED, **changes})
    return (model / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAVMAE_WORK", str(out / "work"))
        return trained(out)


def test_the_number_of_readers_changes_no_bit(tmp_path: Path, expected: bytes) -> None:
    before = threading.active_count()
    assert trained(tmp_path, readers=3) == expected
    assert ended(before)
    assert trained(tmp_path / "other", shuffle_buffer=32) != expected


def test_a_stopped_run_continues_with_other_readers_in_the_middle_of_an_epoch(
    tmp_path: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch, work: Path
) -> None:
    apply = Stepper.apply

    def asked_at_step_10(stepper: Stepper, taken: Taken, rate: float, sums: dict[str, float]) -> None:  # of 7 an epoch
        apply(stepper, taken, rate, sums)
        if taken.step == 10:
            signal.raise_signal(signal.SIGTERM)

    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "apply", asked_at_step_10)
        with pytest.raises(Interrupted, match="stopped at step 10 of 14"):
            trained(tmp_path)
    assert ended(before) and len(list((work / "pretrain").iterdir())) == 1
    assert trained(tmp_path, readers=2) == expected
    assert json.loads((tmp_path / "model" / "lineage.json").read_text())["params"]["readers"] == 2


@pytest.mark.parametrize(("room", "kept"), [(2, 2), (1, 1), (0, 0)])
def test_shards_on_s3_give_the_same_weights_with_a_large_cache_a_small_one_and_none(
    tmp_path: Path, expected: bytes, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch, room: int, kept: int
) -> None:
    here, _ = on_s3(f"s3://{s3_server.bucket()}/shards", tmp_path / "validated")
    monkeypatch.setenv("CAVMAE_CACHE", str(tmp_path / "cache"))
    sizes = [Path(here.root, name).stat().st_size for name in here.store.names("train-") if name.endswith(".tar")]
    monkeypatch.setenv("CAVMAE_CACHE_GB", str((room + 0.5) * max(sizes) / 1e9 if room else 0))
    ranges: list[tuple[str, int]] = []
    read_range = S3Store.read_range

    def recorded(store: S3Store, name: str, offset: int, length: int) -> bytes:
        if name.startswith("train-"):
            ranges.append((name, length))
        return read_range(store, name, offset, length)

    monkeypatch.setattr(S3Store, "read_range", recorded)
    assert trained(tmp_path, tmp_path / "validated", readers=2) == expected
    assert len(sizes) == 2 and len(list((tmp_path / "cache" / "cavmae-shards").glob("*.tar"))) == kept
    if room == 2:
        assert len(ranges) == 2, "each shard once in two epochs"
