"""The clips that are embedded, batch by batch: those of a data set, or the windows of video files."""

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from cavmae.dataset.identity import video_id
from cavmae.dataset.loader import ClipSet, Prefetch, read_clips
from cavmae.dataset.records import read_facts
from cavmae.dataset.schema import CLIPS, read_rows
from cavmae.errors import InputError
from cavmae.evaluation.clip_batches import Frames, collate, pinned, read_inputs, slices
from cavmae.evaluation.windows import file_windows, model_frames
from cavmae.features.front_end import RawBatch
from cavmae.media.clip import MediaRejected, Part
from cavmae.models.folder import ModelConfig
from cavmae.progress import Progress

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """What is known of one clip: [start_s, end_s) of the file `path`; one from no data set has neither split nor labels."""

    video_id: str
    path: str
    split: str | None
    labels: tuple[str, ...]
    start_s: float
    end_s: float


class Batch(NamedTuple):
    """Clips with their inputs: waveforms, and frames uint8 [B, F, H, W, 3]."""

    rows: list[Row]
    raw: RawBatch
    images: Tensor


def dataset_batches(
    data: ClipSet, split: str, config: ModelConfig, frames: Frames, batch_size: int, pin: bool = False
) -> Iterator[Batch]:
    """Yield the clips of a split of a data set, or of `all`, in the order of the manifest; InputError where there are none.

    With `pin` their inputs lie in pinned memory, from which a GPU fetches them by itself.
    """
    names = [name for name in data.splits if data.splits[name]] if split == "all" else [split]
    clips = [(name, clip) for name in names for clip in data.split(name)]
    if not clips:
        raise InputError(f"{data.folder}: holds no clips")
    starts = {row["video_id"]: float(row["start_s"]) for row in read_rows(data.folder / "clips.parquet", CLIPS)}

    def make(indices: Sequence[int]) -> Batch:
        rows, inputs = [], []
        chosen = [clips[index] for index in indices]
        for (name, clip), members in zip(chosen, read_clips([clip for _, clip in chosen]), strict=True):
            inputs.append(read_inputs(config, members, frames))
            start = starts[clip.video_id]
            labels = tuple(data.labels[index].mid for index in clip.labels)
            end = round(start + float(str(read_facts(members)["duration_s"])), 3)
            rows.append(Row(clip.video_id, clip.path, name, labels, start, end))
        raw, images = collate(config, inputs)
        return Batch(rows, pinned(raw), images.pin_memory()) if pin else Batch(rows, raw, images)

    with Progress("embedding", len(clips)) as progress:
        for batch in Prefetch(slices(len(clips), batch_size), make):
            yield batch
            progress.advance(len(batch.rows))


def file_batches(
    videos: Sequence[Path],
    config: ModelConfig,
    hop_s: float | None,
    frames: Frames,
    batch_size: int,
    alone: Collection[Part] = (),
) -> Iterator[Batch]:
    """Yield the windows of video files, as `file_windows` cuts them; what cannot be used is named in the log and passed over.

    A window needs both sound and picture, but for one that has what is `alone` enough.

    Raises InputError where none of the files can be used.
    """
    taken: set[str] = set()
    pending: list[tuple[Row, tuple[np.ndarray, np.ndarray]]] = []
    withheld: list[str] = []  # the first complaint: it becomes the error where nothing else comes
    usable = False
    with Progress("embedding", len(videos), "file") as progress:
        for video in videos:
            for start, clip in file_windows(config, video, hop_s, alone):
                if isinstance(clip, MediaRejected):
                    where = f"{video}, from {start:g} s" if start else str(video)
                    complaint = f"{where}: cannot be used ({clip})"
                    if usable or withheld:
                        log.warning("embed: %s", complaint)
                    else:
                        withheld.append(complaint)
                    continue
                if withheld and not usable:
                    log.warning("embed: %s", withheld[0])
                usable = True
                # a name that is no valid text is no value of a table either
                path = os.fsencode(video).decode("utf-8", "backslashreplace")
                name = video_id(video.stem, f"{path} {start:.3f}", taken)
                row = Row(name, path, None, (), round(start, 3), round(start + clip.facts.duration_s, 3))
                pictures = model_frames(config, clip)
                middle = len(pictures) // 2
                shown = pictures[{"none": slice(0), "middle": slice(middle, middle + 1), "all": slice(None)}[frames]]
                pending.append((row, (clip.waveform, shown)))
                if len(pending) == batch_size:
                    yield _together(config, pending)
                    pending = []
            progress.advance()
    if not usable:
        raise InputError(withheld[0])
    if pending:
        yield _together(config, pending)


def _together(config: ModelConfig, pending: list[tuple[Row, tuple[np.ndarray, np.ndarray]]]) -> Batch:
    return Batch([row for row, _ in pending], *collate(config, [inputs for _, inputs in pending]))
