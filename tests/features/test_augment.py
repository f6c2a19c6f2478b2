"""Draws depend on seed, epoch and clip alone; the arithmetic of a clip does not depend on what stands beside it."""

import numpy as np
import torch

from cavmae.features.augment import Augmentation, Draws, add_noise_and_roll, clip_rng, draw, mask_spectrogram
from cavmae.features.fbank import FbankSettings
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.mixup import mix_waveforms, smooth_and_mix

STRONG = Augmentation(freq_mask=10, time_mask=20, noise=True, roll=16)
SETTINGS = FbankSettings(16000, 32, 96)


def draws(*video_ids: str, epoch: int = 1, setting: Augmentation = STRONG) -> Draws:
    return Draws.stack([draw(clip_rng(3, epoch, video_id), setting, 96, 32) for video_id in video_ids])


def raw(count: int, seed: int = 0) -> RawBatch:
    rng = np.random.default_rng(seed)
    waves = [rng.integers(-9000, 9000, rng.integers(8000, 16000)).astype(np.int16) for _ in range(count)]
    return RawBatch.collate(waves, [np.zeros((4, 4, 3), np.uint8)] * count, SETTINGS)


def test_a_clip_draws_the_same_again_and_another_clip_epoch_or_seed_draws_otherwise() -> None:
    first = clip_rng(0, 1, "a").random(4)
    assert np.array_equal(first, clip_rng(0, 1, "a").random(4))
    for other in (clip_rng(0, 1, "b"), clip_rng(0, 2, "a"), clip_rng(1, 1, "a")):
        assert not np.array_equal(first, other.random(4))


def test_the_spectrogram_of_a_clip_is_the_same_to_the_bit_in_any_batch() -> None:
    whole, names = raw(5), ["a", "b", "c", "d", "e"]
    front_end = FrontEnd(SETTINGS, -5.0, 4.0)
    together = front_end.audio(whole, draws(*names))
    for at, name in enumerate(names):
        alone = RawBatch(whole.waveform[at : at + 1], whole.lengths[at : at + 1], whole.frames[at : at + 1])
        assert torch.equal(front_end.audio(alone, draws(name))[0], together[at]), name


def test_widths_and_places_stay_within_what_was_set() -> None:
    many = draws(*(f"clip{number}" for number in range(300)))
    assert many.freq_width.min() >= 0 and many.freq_width.max() < 10
    assert many.time_width.min() >= 0 and many.time_width.max() < 20
    assert (many.freq_start + many.freq_width <= 32).all() and (many.time_start + many.time_width <= 96).all()
    assert many.roll.min() >= -16 and many.roll.max() < 16 and len(set(many.roll.tolist())) > 20
    assert many.noise_amplitude.min() >= 0 and many.noise_amplitude.max() < 0.1


def test_what_is_switched_off_changes_nothing() -> None:
    mel = torch.randn(2, 96, 32)
    off = draws("a", "b", setting=Augmentation(0, 0, False, 0))
    assert torch.equal(add_noise_and_roll(mask_spectrogram(mel, off), off), mel)


def test_masks_are_zero_and_a_roll_loses_nothing() -> None:
    mel = torch.randn(1, 96, 32) + 10
    one = draws("a", setting=Augmentation(10, 20, False, 16))
    masked = mask_spectrogram(mel, one)
    frames, bins = one.time_width[0], one.freq_width[0]
    assert (masked == 0).sum().item() == frames * 32 + bins * 96 - frames * bins
    rolled = add_noise_and_roll(mel, one)
    assert one.roll[0] != 0 and torch.equal(rolled[0], torch.roll(mel[0], int(one.roll[0]), dims=0))


def test_noise_is_positive_and_below_its_amplitude() -> None:
    mel, one = torch.zeros(1, 96, 32), draws("a", setting=Augmentation(0, 0, True, 0))
    noise = add_noise_and_roll(mel, one)
    assert noise.min() >= 0 and 0 < noise.max() < one.noise_amplitude[0] <= 0.1


def test_weight_one_leaves_waveform_and_labels_as_they_are() -> None:
    samples, partner = torch.randn(2, 50), torch.randn(2, 50)
    lengths, weight = torch.tensor([50, 40]), torch.tensor([1.0, 0.5])
    mixed = mix_waveforms(samples, partner, lengths, weight)
    assert torch.equal(mixed[0], samples[0])
    assert not mixed[1, 40:].any() and abs(mixed[1].sum().item()) < 1e-5
    targets = torch.eye(2)
    assert torch.equal(smooth_and_mix(targets, targets.flip(0), torch.ones(2), 0.0), targets)


def test_smoothed_rows_of_one_label_data_sum_to_one() -> None:
    targets = smooth_and_mix(torch.eye(4), torch.eye(4).flip(0), torch.tensor([1.0, 0.3, 0.6, 1.0]), 0.1)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_official_smoothing_leaves_its_part_out_of_the_labels_of_clips_that_are_not_mixed() -> None:
    weight = torch.tensor([1.0, 0.3])
    ours = smooth_and_mix(torch.eye(2), torch.eye(2).flip(0), weight, 0.1)
    official = smooth_and_mix(torch.eye(2), torch.eye(2).flip(0), weight, 0.1, official_smoothing=True)
    torch.testing.assert_close(ours[0], torch.tensor([0.95, 0.05]))
    torch.testing.assert_close(official[0], torch.tensor([0.9, 0.05]))
    assert torch.equal(official[1], ours[1])
