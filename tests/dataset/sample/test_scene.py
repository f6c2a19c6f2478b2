"""The classes prove what they are meant to prove, and a clip's facts are shared or independent as asked."""

from collections import Counter

import numpy as np
import pytest

from cavmae.dataset.sample import ceilings
from cavmae.dataset.sample.scene import PICTURES, SOUNDS, ceiling, compose, label_of, pairs


def test_each_kind_stands_in_exactly_two_of_eight_different_classes() -> None:
    classes = pairs()
    assert len(set(classes)) == 8
    assert Counter(sound for sound, _ in classes) == dict.fromkeys(SOUNDS, 2)
    assert Counter(picture for _, picture in classes) == dict.fromkeys(PICTURES, 2)


def test_one_modality_alone_is_right_half_of_the_time_at_best() -> None:
    assert ceilings() == {"audio": 0.5, "video": 0.5, "multimodal": 1.0}


def test_ceiling_follows_the_pairing_and_is_not_a_constant() -> None:
    assert ceiling([("a", "x"), ("b", "x"), ("c", "x")], by_sound=True, by_picture=False) == 1.0
    assert ceiling([("a", "x"), ("b", "x"), ("c", "x")], by_sound=False, by_picture=True) == pytest.approx(1 / 3)


def test_in_the_control_set_every_sound_goes_with_every_picture() -> None:
    assert set(pairs(shared_facts=False)) == {(sound, picture) for sound in SOUNDS for picture in PICTURES}


def test_facts_are_shared_or_drawn_anew() -> None:
    label = label_of(pairs()[0])
    shared, control = compose(label, 0, 5, shared_facts=True), compose(label, 0, 5, shared_facts=False)
    assert shared.heard == shared.seen
    assert control.heard == shared.heard
    assert control.seen != control.heard


@pytest.mark.parametrize("fact", ["pitch", "level"])
def test_control_set_has_the_same_marginal_distributions_and_no_correlation(fact: str) -> None:
    scenes = [compose("hum_fall", 0, index, shared_facts=False) for index in range(2000)]
    heard = np.array([getattr(scene.heard, fact) for scene in scenes])
    seen = np.array([getattr(scene.seen, fact) for scene in scenes])
    assert abs(np.corrcoef(heard, seen)[0, 1]) < 0.07  # 3 standard errors of a correlation of 0
    for values in (heard, seen):
        deciles = np.quantile(values, np.linspace(0.1, 0.9, 9))
        np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=0.04)


def test_label_names_the_kinds() -> None:
    scene = compose("chirp_rise", 3, 1, shared_facts=True)
    assert (scene.sound, scene.picture) == ("chirp", "rise")
