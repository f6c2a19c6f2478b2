"""A small delivery of `ingest` and `extract`, in order, that tests break in one place."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cavmae.dataset.expectations import Limits
from cavmae.dataset.labels import Label, write_labels
from cavmae.dataset.schema import CLIPS, FACTS, QUARANTINE, Row, write_table
from cavmae.storage import write_json

LIMITS: dict[str, Any] = {
    "allow_unlabelled": False,
    "allow_static_pictures": True,
    "min_clips_per_label_train": 2,
    "max_quarantined_share": 0.5,
    "max_outlier_share": 0.0,
    "min_duration_s": 0.25,
    "max_duration_s": 60.0,
    "min_frames_decoded": 1,
    "min_sample_rate_hz": 8000,
    "max_channels": 8,
    "min_level_dbfs": -60.0,
    "max_level_dbfs": -2.0,
    "max_silence": 0.95,
    "min_frame_variance": 2.0,
    "min_clips_val": 1,
    "min_clips_test": 1,
    "fail_on_warnings": False,
}


def limits(**changes: Any) -> Limits:
    """The limits of the tests, with changes."""
    return Limits.model_validate({**LIMITS, **changes})


def quarantined(video_id: str | None, step: str, reason: str = "no_audio") -> Row:
    """A quarantine row."""
    path = f"videos/{video_id or 'nameless'}.mp4"
    return {"video_id": video_id, "path": path, "step": step, "reason": reason, "detail": "It has no sound track."}


@dataclass
class DeliveryFolders:
    """Ten clips of two labels in three shards, and one input that each step rejected; `write` puts it on disk."""

    clips: list[Row] = field(default_factory=list)
    facts: list[Row] = field(default_factory=list)
    ingest_quarantine: list[Row] = field(default_factory=lambda: [quarantined(None, "ingest", "not_media")])
    extract_quarantine: list[Row] = field(default_factory=lambda: [quarantined("mute", "extract")])
    labels: list[str] = field(default_factory=lambda: ["bark", "meow"])
    index: dict[str, Any] = field(default_factory=dict)
    tars: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split, count in (("train", 3), ("val", 1), ("test", 1)):
            for label in self.labels:
                self.clips += [self._clip(f"{label}_{split}_{number}", split, label) for number in range(count)]
        self.facts = [self._fact(clip["video_id"]) for clip in self.clips]
        self.clips.append(self._clip("mute", "train", "bark"))
        self.tars = {f"{split}-00000": split.encode() * 40 for split in ("train", "val", "test")}
        counts = {"train-00000": 6, "val-00000": 2, "test-00000": 2}
        shards = [
            {"name": name, "bytes": len(tar), "sha256": hashlib.sha256(tar).hexdigest(), "clips": counts[name]}
            for name, tar in self.tars.items()
        ]
        self.index = {"format": 1, "settings": {"frames": 10, "image_size": 32, "sample_rate": 16000}, "shards": shards}

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write data/ingest and data/shards under `folder` and return the two."""
        ingest, shards = folder / "data" / "ingest", folder / "data" / "shards"
        write_table(ingest / "clips.parquet", self.clips, CLIPS)
        write_table(ingest / "quarantine.parquet", self.ingest_quarantine, QUARANTINE)
        write_labels(ingest / "labels.csv", [Label(label, label.title()) for label in self.labels])
        write_table(shards / "facts.parquet", self.facts, FACTS)
        write_table(shards / "quarantine.parquet", self.extract_quarantine, QUARANTINE)
        write_json(shards / "index.json", self.index)
        for name, tar in self.tars.items():
            (shards / f"{name}.tar").write_bytes(tar)
        return ingest, shards

    def without_labels(self) -> "DeliveryFolders":
        """The same delivery as a source without any label gives it."""
        self.labels = []
        for clip in self.clips:
            clip["labels"] = []
        return self

    @staticmethod
    def _clip(video_id: str, split: str, label: str) -> Row:
        path = f"videos/{video_id}.mp4"
        return {
            "video_id": video_id,
            "name": video_id,
            "path": path,
            "frames": None,
            "start_s": 0.0,
            "end_s": 10.0,
            "labels": [label],
            "group": path,
            "split": split,
            "shard": f"{split}-00000",
            "sha256": hashlib.sha256(path.encode()).hexdigest(),
            "bytes": 1000,
            "source": "videos",
            "weight": None,
            "object": None,
        }

    @staticmethod
    def _fact(video_id: str) -> Row:
        return {
            "video_id": video_id,
            "duration_s": 10.0,
            "fps": 25.0,
            "frames_decoded": 250,
            "width": 320,
            "height": 240,
            "rotation": 0,
            "video_codec": "h264",
            "audio_codec": "aac",
            "sample_rate": 44100,
            "channels": 2,
            "audio_s": 10.0,
            "level_dbfs": -20.0,
            "silence": 0.1,
            "frame_variance": 300.0,
            "notes": [],
        }
