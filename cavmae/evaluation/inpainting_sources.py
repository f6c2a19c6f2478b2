"""The clips to inpaint: of a data set, or straight from video files."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cavmae.dataset.identity import video_id
from cavmae.dataset.loader import ClipRecord
from cavmae.dataset.records import decode_frame, decode_waveform, frame_count
from cavmae.evaluation.windows import as_batch, file_windows
from cavmae.features.front_end import RawBatch
from cavmae.media.clip import MediaRejected
from cavmae.models.folder import ModelConfig


@dataclass(frozen=True)
class Source:
    """A clip to come. `name` is a safe and unique folder name, `key` what its masks are drawn by, `path` is for people."""

    name: str
    key: str
    path: str
    read: Callable[[], RawBatch]
    """Returns the clip with its middle frame as a batch of one; raises MediaRejected where there is none."""


def from_dataset(clips: Sequence[ClipRecord], config: ModelConfig) -> list[Source]:
    """The clips of a data set under their ids."""
    return [Source(clip.video_id, clip.video_id, clip.path, partial(_stored, clip, config)) for clip in clips]


def from_files(videos: Sequence[Path], config: ModelConfig) -> list[Source]:
    """The first window of each file, as long as the model's clips, under the file's name without its ending.

    A name that is not safe, or that several files have (whatever the case of its letters), gets a hash of the path behind
    it, so that no result replaces another's. A path given twice counts once. Masks are drawn by the name alone: they stay
    the same where the file lies elsewhere.
    """
    files = list(dict.fromkeys(videos))
    first = [video_id(path.stem, str(path), set()) for path in files]
    often = Counter(name.casefold() for name in first)
    clashes = {name for name in first if often[name.casefold()] > 1}
    sources = []
    for path in files:
        name = video_id(path.stem, str(path), clashes)
        sources.append(Source(name, as_text(path.stem), as_text(path), partial(_opened, path, config)))
    return sources


def _stored(clip: ClipRecord, config: ModelConfig) -> RawBatch:
    members = clip.members()
    frame = decode_frame(members, frame_count(members) // 2, config.architecture.img_size)
    return RawBatch.collate([decode_waveform(members)], [frame], config.fbank)


def _opened(path: Path, config: ModelConfig) -> RawBatch:
    _, clip = next(iter(file_windows(config, path, None)))
    if isinstance(clip, MediaRejected):
        raise clip
    raw, _ = as_batch(config, clip)
    return raw


def as_text(path: str | Path) -> str:
    """A path as text that every file can hold; what is not valid in it becomes U+FFFD."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
