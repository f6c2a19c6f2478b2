"""Who has which clips, and what a process does that was told nothing, or nonsense, about others."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from cavmae.errors import InputError, StepFailed
from cavmae.training.collectives import OtherFailed, together
from cavmae.training.distributed import World, current_world
from cavmae.training.joining import joined
from tests.training.tiny import same_files, tiny, train

VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("whole", [1, 2, 3, 7, 8, 48, 100])
def test_every_clip_is_one_processs_and_none_has_two_more_than_another(size: int, whole: int) -> None:
    shares = [World(rank, size).share(whole) for rank in range(size)]
    assert [clip for share in shares for clip in range(share.start, share.stop)] == list(range(whole))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1 and sizes[0] > 0
    assert sum(share.weight for share in shares) == pytest.approx(1.0)
    assert sorted(batch for rank in range(size) for batch in World(rank, size).dealt(whole)) == list(range(whole))


def test_alone_nothing_is_sent_and_nothing_changes() -> None:
    alone, values = World(), torch.tensor([1.0, float("nan")])
    parameter = torch.nn.Parameter(torch.ones(2))
    alone.sum_gradients([parameter], clips=1)
    assert alone.total(values) is values and alone.from_first(values) is values and parameter.grad is None
    assert alone.any(True) and not alone.any(False) and alone.is_first
    rows = torch.ones(3, 2, requires_grad=True)
    assert alone.share(3).gather(rows) is rows


@pytest.mark.parametrize("size", [None, "1", ""])
def test_one_process_alone_never_touches_the_collectives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str | None
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("collectives are set up for one process")

    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    for name in ("init_process_group", "all_reduce", "all_gather", "broadcast"):
        monkeypatch.setattr(dist, name, forbidden)
    monkeypatch.setattr("cavmae.training.joining.rendezvous", forbidden)
    if size is None:
        model = train("pretrain", tmp_path, tiny().dataset, tiny().adapted)
        assert same_files(model, tiny().pretrained) == []
    with joined("cpu"):
        assert current_world() == World(0, 1) and not dist.is_initialized()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', not a number"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE is '-2', not a number"),
        ({"WORLD_SIZE": "2"}, "RANK is '', not a number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2 where WORLD_SIZE is 2"),
        ({"WORLD_SIZE": "0", "RANK": "0"}, "RANK is 0 where WORLD_SIZE is 0"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "x"}, "LOCAL_RANK is 'x', not a number"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE is 2, and MASTER_ADDR is not set; .* or unset WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"}, "MASTER_PORT is not set"),
    ],
)
def test_variables_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], message: str) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message), joined("cpu"):
        raise AssertionError("not reached")


def test_an_address_that_is_none_fails_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cavmae.training.joining._PATIENCE", timedelta(seconds=1))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StepFailed, match="the 2 processes of this training did not come together") as caught, joined("cpu"):
        raise AssertionError("not reached")
    assert "\n" not in str(caught.value) and logging.getLogger("cavmae").level != logging.ERROR


def test_what_a_lost_process_makes_torch_say_becomes_one_sentence() -> None:
    def lost() -> None:
        raise RuntimeError("[/a/b/pair.cc:545] Read error [::1]:4: Connection reset by peer. This is typically\nframe #0: c10")

    with pytest.raises(OtherFailed) as caught:
        together(lost)
    assert str(caught.value).endswith("its own log says why (Read error [::1]:4: Connection reset by peer)")
