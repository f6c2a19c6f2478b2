"""Noise: a function of seed and place alone, as even as its resolution allows."""

import numpy as np
import pytest
import torch

from cavmae.features.noise import uniform_noise


def test_a_clip_gets_the_same_noise_in_any_batch_and_another_seed_gets_other_noise() -> None:
    seeds = torch.tensor([5, 6, 2**31 - 1, 0])
    together = uniform_noise(seeds, 96, 32)
    for row in range(4):
        assert torch.equal(uniform_noise(seeds[row : row + 1], 96, 32)[0], together[row])
    assert len({values.numpy().tobytes() for values in together}) == 4
    assert seeds.tolist() == [5, 6, 2**31 - 1, 0]


def test_the_numbers_are_those_of_every_machine() -> None:
    # worked out with Python's integers from the description at the head of the module
    def mixed(word: int) -> int:
        for factor in (0x7FEB352D, 0x046CA68B):
            word = (word ^ word >> 16) * factor & 0x7FFFFFFF
        return word ^ word >> 15

    words = [mixed((place * 0x9E3779B1 & 0x7FFFFFFF) ^ mixed(77)) for place in range(1, 9)]
    wanted = [word & 0x7FFF for word in words] + [word >> 16 for word in words]
    assert (uniform_noise(torch.tensor([77]), 4, 4).flatten() * 2**15).tolist() == wanted


def test_an_odd_number_of_places_is_filled() -> None:
    assert uniform_noise(torch.tensor([1, 2]), 3, 5).shape == (2, 3, 5)


def test_values_are_even_and_neighbours_do_not_know_of_each_other() -> None:
    noise = uniform_noise(torch.arange(1000, 1016), 1024, 128).numpy()
    assert 0 <= noise.min() < 1e-3 and 1 - 1e-3 < noise.max() < 1
    counts = np.histogram(noise, bins=64, range=(0, 1))[0]
    expected = noise.size / 64
    # chi-square with 63 degrees of freedom: 0.9999 of all draws lie below 116
    assert ((counts - expected) ** 2 / expected).sum() < 116
    centred = noise - noise.mean()
    pairs = {
        "bins": (centred[:, :, 1:], centred[:, :, :-1]),
        "frames": (centred[:, 1:], centred[:, :-1]),
        "clips": (centred[1:], centred[:-1]),
        "halves": (centred[:, :512], centred[:, 512:]),
    }
    for name, (one, other) in pairs.items():
        correlation = (one * other).mean() / centred.var()
        assert abs(correlation) < 5 / np.sqrt(one.size), name
    spectrum = np.abs(np.fft.rfft(centred[0].ravel()))[1:]
    assert spectrum.max() / np.sqrt((spectrum**2).mean()) < 5, "no period stands out"


@pytest.mark.gpu
def test_a_gpu_makes_the_same_numbers() -> None:
    seeds = torch.arange(100, 104)
    assert torch.equal(uniform_noise(seeds, 1024, 128), uniform_noise(seeds.cuda(), 1024, 128).cpu())
