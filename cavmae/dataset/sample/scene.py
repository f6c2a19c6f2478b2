"""What one sample clip is: its class, its facts, and everything else that differs from clip to clip."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

SOUNDS = ("hum", "pulse", "chirp", "hiss")
PICTURES = ("bars", "rise", "posts", "fall")

# Streams of random numbers of one clip: each is independent of the others, so that the sound of a clip is the same
# whether or not its picture shares the facts.
_FACTS, _OTHER_FACTS, SOUND_STREAM, PICTURE_STREAM, GRAIN_STREAM = range(5)


@dataclass(frozen=True)
class Facts:
    """What sound and picture of one clip may share, each in 0..1 and uniformly distributed."""

    # Two are enough: with more, a contrastive model tells the clips apart by them alone and never learns the kinds.
    pitch: float  # sound: pitch on a logarithmic scale; picture: hue
    level: float  # sound: loudness in decibels; picture: size


@dataclass(frozen=True)
class Scene:
    """One clip before it is drawn and played."""

    sound: str  # one of SOUNDS
    picture: str  # one of PICTURES
    heard: Facts
    seen: Facts
    seed: int
    index: int

    def stream(self, which: int) -> np.random.Generator:
        """Return a fresh generator of this clip's random numbers of one kind; the same at every call."""
        return _generator(self.seed, self.index, which)


def pairs(shared_facts: bool = True) -> tuple[tuple[str, str], ...]:
    """Return the classes as (sound, picture).

    With shared facts the kinds are paired in a cycle: sound k goes with the pictures k and k + 1, so that each sound
    and each picture stands in exactly two classes. Without, nothing a sound tells says anything of the picture: every
    sound goes with every picture.
    """
    count = len(PICTURES)
    reach = range(2 if shared_facts else count)
    return tuple((sound, PICTURES[(number + step) % count]) for number, sound in enumerate(SOUNDS) for step in reach)


def label_of(pair: tuple[str, str]) -> str:
    """Return the name of a class, for instance 'chirp_bars'."""
    return "_".join(pair)


def ceiling(classes: Sequence[tuple[str, str]], by_sound: bool, by_picture: bool) -> float:
    """Return the best accuracy on equally frequent `classes` for one who tells the sound, the picture, or both."""
    seen = {(sound if by_sound else None, picture if by_picture else None) for sound, picture in classes}
    return len(seen) / len(classes)  # one right guess for each distinguishable group


def compose(label: str, seed: int, index: int, shared_facts: bool) -> Scene:
    """Return the scene of clip `index`: a function of the arguments alone."""
    sound, _, picture = label.partition("_")
    heard = _draw(_generator(seed, index, _FACTS))
    seen = replace(heard) if shared_facts else _draw(_generator(seed, index, _OTHER_FACTS))
    return Scene(sound=sound, picture=picture, heard=heard, seen=seen, seed=seed, index=index)


def _draw(random: np.random.Generator) -> Facts:
    return Facts(**{field.name: float(random.random()) for field in fields(Facts)})


def _generator(seed: int, index: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(index, stream))))
