"""The training loop on a problem that can be worked out by hand: weighting, checkpoints, fall-back, and ends."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.training.batches import TrainBatch
from cavmae.training.engine import mean_over
from tests.training.toy import Toy, toy_engine

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0]


def test_every_clip_weighs_the_same_also_in_the_smaller_last_batch(tmp_path: Path) -> None:
    toy = Toy(VALUES)
    rows = toy_engine(toy, tmp_path, epochs=1).run("toy")
    assert [len(batch) for batch in toy.seen] == [2, 2, 1]
    assert sorted(index for batch in toy.seen for index in batch) == [0, 1, 2, 3, 4]
    assert toy.model.weight.item() == pytest.approx(-sum(VALUES) / 2)
    assert rows[0]["train_value"] == pytest.approx(sum(VALUES) / 5), "the epoch's figures are means over clips, not batches"


def test_the_smaller_last_batch_can_be_left_out_as_the_original_does(tmp_path: Path) -> None:
    toy = Toy(VALUES)
    rows = toy_engine(toy, tmp_path, epochs=2, drop_last="true").run("toy")
    assert [len(batch) for batch in toy.seen] == [2, 2, 2, 2]
    seen = [VALUES[index] for batch in toy.seen[:2] for index in batch]
    assert rows[0]["train_value"] == pytest.approx(sum(seen) / 4)
    with pytest.raises(InputError, match="the train split's 5 clips do not fill a batch of 6; set a smaller batch_size"):
        toy_engine(Toy(VALUES), tmp_path / "b", epochs=1, batch_size=6, drop_last="true").run("toy")


def test_gradients_are_scaled_down_to_the_norm_asked_for(tmp_path: Path) -> None:
    toy = Toy(VALUES)
    toy_engine(toy, tmp_path, epochs=1, clip_grad_norm=0.5).run("toy")
    assert toy.model.weight.item() == pytest.approx(-3 * 0.5, rel=1e-5)


def test_epochs_are_shuffled_differently(tmp_path: Path) -> None:
    toy = Toy(VALUES)
    toy_engine(toy, tmp_path, epochs=2).run("toy")
    assert toy.seen[:3] != toy.seen[3:]


def test_only_the_last_two_checkpoints_and_the_last_epochs_are_kept(tmp_path: Path) -> None:
    engine = toy_engine(Toy(VALUES), tmp_path, epochs=4, keep_epochs=2)
    engine.run("toy")
    assert sorted(path.name for path in engine.checkpoints.folder.iterdir()) == [
        "epoch-0003.safetensors",
        "epoch-0004.safetensors",
        "step-000000011.pt",
        "step-000000012.pt",
    ]


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "flipped"])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    first = Toy(VALUES)
    engine = toy_engine(first, tmp_path, epochs=2)
    rows = engine.run("toy")
    last = engine.checkpoints.folder / "step-000000006.pt"
    content = last.read_bytes()
    middle = content.index(bytes(first.model.weight.detach().numpy().tobytes()))
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    last.write_bytes({"truncated": content[: len(content) // 2], "garbage": b"u.", "empty": b"", "flipped": flipped}[damage])
    again = Toy(VALUES)
    with caplog.at_level(logging.INFO):
        assert toy_engine(again, tmp_path, epochs=2).run("toy") == rows
    assert "falling back to the one before it" in caplog.text and "resumed at step 5" in caplog.text
    assert torch.equal(again.model.weight, first.model.weight) and len(again.seen) == 1


def test_without_any_readable_checkpoint_the_run_starts_again(tmp_path: Path) -> None:
    engine = toy_engine(Toy(VALUES), tmp_path, epochs=1)
    rows = engine.run("toy")
    for path in engine.checkpoints.folder.glob("step-*.pt"):
        path.write_bytes(b"u.")
    again = Toy(VALUES)
    assert toy_engine(again, tmp_path, epochs=1).run("toy") == rows
    assert len(again.seen) == 3


def test_a_leftover_of_a_killed_write_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "step-000000003.pt.77.partial").write_bytes(b"half")
    toy = Toy(VALUES)
    engine = toy_engine(toy, tmp_path, epochs=1)
    engine.run("toy")
    assert len(toy.seen) == 3 and not list(engine.checkpoints.folder.glob("*.partial"))


class Diverging(Toy):
    """Its loss is NaN in one step, or its gradient is infinite there while the loss is still a number."""

    def __init__(self, kind: str, step: int = 5) -> None:
        super().__init__(VALUES)
        self.kind, self.step = kind, step

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        loss, meters = super().loss(batch, device)
        if len(self.seen) == self.step:
            # the square root has an infinite slope at 0
            loss = loss * float("nan") if self.kind == "loss" else loss * 0 + (self.model.weight.sum() * 0).abs().sqrt()
        return loss, meters


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_what_is_no_number_stops_the_run_and_the_last_good_checkpoint_stays(tmp_path: Path, kind: str) -> None:
    engine = toy_engine(Diverging(kind), tmp_path, epochs=3)
    with pytest.raises(StepFailed, match="lower lr or set clip_grad_norm"):
        engine.run("toy")
    state = engine.checkpoints.load()
    assert state is not None and state["step"] == 4 and torch.isfinite(state["model"]["weight"]).all()


def test_weights_that_are_no_numbers_after_the_last_step_are_no_result(tmp_path: Path) -> None:
    engine = toy_engine(Diverging("gradient", step=3), tmp_path, epochs=1, checkpoint_s=1e9, keep_epochs=1)
    with pytest.raises(StepFailed, match="weight is no longer finite after step 3"):
        engine.run("toy")
    assert not list(engine.checkpoints.folder.iterdir())


def test_a_stop_asked_for_by_signal_saves_first(tmp_path: Path) -> None:
    import os
    import signal

    class Stopped(Toy):
        def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
            if len(self.seen) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().loss(batch, device)

    before = signal.getsignal(signal.SIGTERM)
    engine = toy_engine(Stopped(VALUES), tmp_path, epochs=3, checkpoint_s=1e9)
    with pytest.raises(Interrupted, match="stopped at step 3 of 9; run the same command to continue"):
        engine.run("toy")
    assert signal.getsignal(signal.SIGTERM) is before
    state = engine.checkpoints.load()
    assert state is not None and state["step"] == 3


def test_a_full_disk_fails_in_one_line_and_the_checkpoints_before_stay(tmp_path: Path) -> None:
    import resource

    engine = toy_engine(Toy(VALUES), tmp_path, epochs=1)
    engine.checkpoints.save(1, {"w": torch.ones(1)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StepFailed, match=r"the checkpoint cannot be written; is the disk full\?") as caught:
            engine.checkpoints.save(2, {"w": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    state = engine.checkpoints.load()
    assert state is not None and torch.equal(state["w"], torch.ones(1))


def test_a_finished_run_gives_up_what_it_continues_from_before_what_it_needs_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = toy_engine(Toy(VALUES), tmp_path, epochs=2, keep_epochs=2)
    rows = engine.run("toy")
    monkeypatch.setattr("cavmae.training.checkpoint.shutil.rmtree", lambda *_, **__: None)  # killed at that moment
    engine.checkpoints.remove()
    monkeypatch.undo()
    engine.epoch_weights(1).unlink()
    again = toy_engine(Toy(VALUES), tmp_path, epochs=2, keep_epochs=2)
    assert again.run("toy") == rows and again.epoch_weights(1).is_file()
    again.checkpoints.remove()
    assert not again.checkpoints.folder.exists()


def test_means_over_batches_weigh_clips_not_batches() -> None:
    assert mean_over([(3, {"x": torch.tensor(1.0)}), (1, {"x": torch.tensor(5.0)})]) == {"x": 2.0}
    assert mean_over([]) == {}
