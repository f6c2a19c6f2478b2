"""The sample set: short labelled MP4 files of audio-visual events, generated from a seed.

A class is a kind of sound with a kind of picture. Each kind stands in two classes, so that sound alone or picture
alone leaves two classes to choose from, and both together leave one. What else is heard and seen differs from clip to
clip; some of it is shared by the sound and the picture of one clip, which is what retrieval can find.
"""

from dataclasses import dataclass
from pathlib import Path

from cavmae.dataset.sample.broken import Source, write_broken
from cavmae.dataset.sample.encode import encode
from cavmae.dataset.sample.picture import draw
from cavmae.dataset.sample.scene import ceiling, compose, label_of, pairs
from cavmae.dataset.sample.sound import play
from cavmae.errors import InputError
from cavmae.storage import write_atomic

__all__ = ["SampleClip", "SampleSettings", "ceilings", "plan", "render", "render_broken"]

_VAL, _TEST, _OF = 1, 2, 10  # of ten clips of a class the second is for val, the third for test, the others for train
_BROKEN_INDEX = 10**9  # the scene of the broken files, beyond every clip


@dataclass(frozen=True)
class SampleSettings:
    """How the sample set is made."""

    clips: int
    broken: bool  # add the files that are broken on purpose
    seconds: float  # length of a clip
    size: int  # side of the picture, pixels, even
    fps: int  # frames per second
    sample_rate: int  # Hz
    seed: int
    shared_facts: bool  # False: the control set, in which the sound tells nothing of the picture


@dataclass(frozen=True)
class SampleClip:
    """One clip to be rendered; it depends on the seed and its index, never on the number of clips."""

    name: str  # file stem
    label: str
    split: str  # train, val or test
    index: int


def plan(settings: SampleSettings) -> list[SampleClip]:
    """Return the clips of the set: every class in turn, and every split with the same number of clips of each class.

    The numbers are equal where `clips` is a multiple of ten times the number of classes, else differ by one at most.
    Raises InputError for a setting that no set can be made of.
    """
    _check(settings)
    labels = [label_of(pair) for pair in pairs(settings.shared_facts)]
    clips = []
    for index in range(settings.clips):
        number, which = divmod(index, len(labels))
        split = {_VAL: "val", _TEST: "test"}.get(number % _OF, "train")
        clips.append(SampleClip(f"{labels[which]}_{index:05d}", labels[which], split, index))
    return clips


def render(clip: SampleClip, settings: SampleSettings, path: Path) -> None:
    """Write the MP4 file of `clip` to `path`, whole or not at all; the same clip and settings give the same bytes."""
    source = _media(clip.label, clip.index, settings)
    with write_atomic(path) as partial:
        encode(partial, source.frames, source.wave, source.fps, source.sample_rate)


def render_broken(settings: SampleSettings, folder: Path) -> list[tuple[str, str]]:
    """Write the files that are broken on purpose, if asked for; return (file name, reason) of each.

    The reasons are those for which each file must land in the quarantine (vocabulary in docs/quarantine.md).
    """
    if not settings.broken:
        return []
    label = label_of(pairs(settings.shared_facts)[0])
    return write_broken(_media(label, _BROKEN_INDEX, settings), folder)


def ceilings(shared_facts: bool = True) -> dict[str, float]:
    """Return the best possible accuracy by `audio`, `video` and both (`multimodal`), as the classes imply."""
    classes = pairs(shared_facts)
    return {
        "audio": ceiling(classes, by_sound=True, by_picture=False),
        "video": ceiling(classes, by_sound=False, by_picture=True),
        "multimodal": ceiling(classes, by_sound=True, by_picture=True),
    }


def _media(label: str, index: int, settings: SampleSettings) -> Source:
    scene = compose(label, settings.seed, index, settings.shared_facts)
    frames = draw(scene, settings.size, round(settings.seconds * settings.fps), settings.seconds)
    wave = play(scene, round(settings.seconds * settings.sample_rate), settings.sample_rate)
    return Source(frames, wave, settings.fps, settings.sample_rate)


def _check(settings: SampleSettings) -> None:
    least = 3 * len(pairs(settings.shared_facts))
    if settings.clips < least:
        raise InputError(f"sample set: clips is {settings.clips}; every split needs every class: give {least} or more")
    if settings.size < 16 or settings.size % 2:
        raise InputError(f"sample set: size is {settings.size} pixels; give an even number from 16 on")
    if settings.fps < 1:
        raise InputError(f"sample set: fps is {settings.fps}; give 1 frame a second or more")
    if round(settings.seconds * settings.fps) < 1:
        raise InputError(f"sample set: seconds is {settings.seconds}, less than a frame at {settings.fps} a second")
    if settings.sample_rate < 8000:
        raise InputError(f"sample set: sample_rate is {settings.sample_rate} Hz; give 8000 or more")
