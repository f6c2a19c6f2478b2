"""Example clips: the right ones, none twice, and variety among the best."""

import numpy as np

from cavmae.evaluation.examples import choose_examples, log_mel_to_see


def test_best_show_each_label_before_a_second_clip_of_one():
    target = np.eye(2)[[0, 0, 0, 1, 0, 1]]
    score = np.array([[0.99, 0.01], [0.98, 0.02], [0.97, 0.03], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    best, worst = choose_examples(target, score, 2)
    assert best == [0, 3]
    assert worst == [4, 5]


def test_no_clip_is_shown_twice_when_there_are_few():
    target = np.eye(2)[[0, 1, 0]]
    best, worst = choose_examples(target, np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]]), 6)
    assert sorted(best + worst) == [0, 1, 2]


def test_clip_is_as_good_as_its_worst_true_label_and_unlabelled_ones_are_passed_over():
    target = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    score = np.array([[0.9, 0.1, 0.8], [0.6, 0.2, 0.1], [0.9, 0.0, 0.0], [0.5, 0.5, 0.2]])
    best, worst = choose_examples(target, score, 1)
    assert (best, worst) == ([1], [0])
    best, worst = choose_examples(target, score, 4)
    assert 2 not in [*best, *worst]


def test_spectrogram_is_as_long_as_the_clip():
    noise = np.random.default_rng(0).integers(-3000, 3000, 16000).astype(np.int16)
    log_mel, seconds = log_mel_to_see(noise, 16000)
    assert log_mel.shape == (98, 64) and abs(seconds - 0.98) < 1e-9 and log_mel.std() > 0
    assert log_mel_to_see(noise[:10], 16000)[0].shape == (1, 64)
