"""Batches are a function of seed, epoch and clip alone: who stands beside a clip, and who computes it, changes nothing."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipSet
from cavmae.errors import StepFailed
from cavmae.features.augment import Augmentation, Draws
from cavmae.features.fbank import FbankSettings
from cavmae.training.batches import BatchBuilder, MaskSettings, TrainBatch
from tests.s3_service import S3Service
from tests.training.tiny import on_s3, tiny

MASKS = MaskSettings((2, 6), (4, 4), "tf", 0.75)


@pytest.fixture(scope="module")
def builder() -> BatchBuilder:
    data = ClipSet(tiny().dataset)
    clips = data.split("train")
    return BatchBuilder(
        clips, FbankSettings(16000, 32, 96), 32, 5, Augmentation(4, 8, True, 6), data.targets(clips), MASKS, mixup=0.5
    )


def rows(batch: TrainBatch, at: int) -> dict[str, Tensor]:
    """All that the batch holds of its clip number `at`."""
    found: dict[str, Tensor] = {}
    for name, value in vars(batch).items():
        if isinstance(value, Draws):
            found |= {f"{name}.{field.name}": torch.as_tensor(getattr(value, field.name)[at]) for field in fields(value)}
        elif isinstance(value, Tensor):
            found[name] = value[at]
        elif name in ("raw", "partner"):
            found |= {f"{name}.{part}": tensor[at] for part, tensor in vars(value).items()}
    return found


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_a_clip_gets_the_same_draws_in_whatever_batch_it_stands(builder: BatchBuilder) -> None:
    one, other = builder.build([3, 9, 20, 7], epoch=2), builder.build([1, 7, 3], epoch=2)
    assert len(rows(one, 0)) >= 16, "frames, waveform, draws, targets, partner, weight and masks are all looked at"
    assert equal(rows(one, 0), rows(other, 2)) and equal(rows(one, 3), rows(other, 1))
    assert not equal(rows(one, 0), rows(builder.build([3], epoch=3), 0))
    assert not equal(rows(one, 0), rows(replace(builder, seed=6).build([3], epoch=2), 0))


def test_a_batch_that_is_read_from_s3_is_the_one_that_is_read_here(
    builder: BatchBuilder, s3_server: S3Service, tmp_path: Path
) -> None:
    _, remote = on_s3(f"s3://{s3_server.bucket()}/shards", tmp_path / "validated")
    clips = ClipSet(tmp_path / "validated").split("train")
    assert [clip.video_id for clip in clips] == [clip.video_id for clip in builder.clips]
    one, other = builder.build([3, 9, 20, 7], epoch=2), replace(builder, clips=clips).build([3, 9, 20, 7], epoch=2)
    assert all(equal(rows(one, at), rows(other, at)) for at in range(4))
    remote.store.delete(clips[9].shard.name)
    with pytest.raises(StepFailed, match=f"{remote.store.uri(clips[9].shard.name)}: shard is missing"):
        replace(builder, clips=clips).build([9], epoch=2)


def test_every_frame_of_a_clip_is_drawn_at_some_time(builder: BatchBuilder) -> None:
    seen = {builder.build([4], epoch).raw.frames.numpy().tobytes() for epoch in range(1, 40)}
    assert len(seen) == 4


def test_about_the_share_asked_for_is_mixed_and_the_others_are_their_own_partner(builder: BatchBuilder) -> None:
    everyone = builder.build(range(len(builder.clips)), epoch=1)
    assert everyone.weight is not None and everyone.partner is not None and everyone.partner_targets is not None
    unmixed = everyone.weight == 1
    assert 8 <= int(unmixed.sum()) <= 24
    assert torch.equal(everyone.partner.waveform[unmixed], everyone.raw.waveform[unmixed])
    assert not torch.equal(everyone.partner.waveform[~unmixed], everyone.raw.waveform[~unmixed])
    assert everyone.targets is not None and torch.equal(everyone.partner_targets[unmixed], everyone.targets[unmixed])


def test_without_mixup_targets_and_masks_a_batch_holds_none(builder: BatchBuilder) -> None:
    plain = replace(builder, targets=None, masks=None, mixup=0.0).build([0, 1], epoch=1)
    assert plain.targets is plain.partner is plain.weight is plain.noise_a is None
    assert [clip.video_id for clip in plain.clips] == [clip.video_id for clip in builder.clips[:2]]


@pytest.mark.parametrize(("mode", "struck"), [("unstructured", 0), ("time", 4 * 2), ("freq", 1 * 6), ("tf", 3 * 2 + 1 * 6 - 3)])
def test_masks_are_struck_as_their_mode_says(mode: str, struck: int) -> None:
    noise_a, noise_v = np.empty(12, dtype=np.float32), np.empty(16, dtype=np.float32)
    replace(MASKS, mode=mode).draw(np.random.default_rng(0), noise_a, noise_v)  # type: ignore[arg-type]
    assert int((noise_a > 1).sum()) == struck and not (noise_v > 1).any()
