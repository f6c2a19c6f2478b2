"""What the media room gives to the others: a clip, the facts about it, or the reason why there is none."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

REASONS = frozenset(
    {
        "unreadable_file",
        "empty_file",
        "not_media",
        "undecodable",
        "too_large",
        "no_video",
        "no_audio",
        "no_decodable_video",
        "no_decodable_audio",
        "truncated",
        "too_short",
        "silent_audio",
        "missing_frames",
    }
)
"""Why a file did not become a clip; docs/quarantine.md explains each word."""

NOTES = frozenset(
    {
        "apply_rotation",
        "audio_ends_early",
        "audio_padded",
        "audio_starts_late",
        "choose_default_track",
        "corrupted_frames",
        "cropped",
        "downmix",
        "letterbox_or_crop",
        "partial_audio",
        "short_clip",
        "static_picture",
        "truncated",
        "trust_decoded_duration",
        "use_first_decodable_track",
        "variable_frame_rate",
    }
)
"""Oddities of an accepted clip that were handled; docs/quarantine.md explains each word."""


Part = Literal["sound", "picture"]


class MediaRejected(Exception):
    """A file that cannot become a clip: `reason` is a word of REASONS, `detail` one sentence for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"'{reason}' is not a word of the quarantine vocabulary")
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class ClipSettings:
    """What a clip should look like, and what is still good enough to become one."""

    frames: int  # pictures per clip
    image_size: int  # pixels, both sides of the square picture
    sample_rate: int  # Hz, of the waveform
    frame_index: Literal["exact", "official"]  # official: one frame early, as the published extraction script reads
    min_duration_s: float  # shorter clips are rejected
    silence_dbfs: float  # a clip whose RMS level is below is rejected; so is a 100 ms block counted as silent
    max_pixels: int  # of one source frame; larger ones are rejected before they are decoded


@dataclass(frozen=True)
class MediaFacts:
    """What was found while a clip was decoded; the fields of cavmae.dataset.schema.FACTS without `video_id`."""

    duration_s: float
    fps: float
    frames_decoded: int
    width: int
    height: int
    rotation: int
    video_codec: str
    audio_codec: str
    sample_rate: int
    channels: int
    audio_s: float
    level_dbfs: float
    silence: float
    frame_variance: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Clip:
    """A decoded clip.

    `frames` is uint8 RGB of shape [frames, image_size, image_size, 3]; `waveform` is int16 mono of shape [samples] at
    `ClipSettings.sample_rate`, beginning where the window begins and not padded to its length. `times` [frames] are the
    seconds from the window's start at which each picture comes on show, None where they are not known. `jpegs` are the
    files that the frames were read from, where they are fit to be stored as they are. A clip of one part alone, which only
    who asks for it gets, has no frames or no samples.
    """

    frames: NDArray[np.uint8]
    waveform: NDArray[np.int16]
    facts: MediaFacts
    times: NDArray[np.float64] | None = None
    jpegs: tuple[bytes, ...] | None = None
