"""Writing one shard: clips are decoded one after another and appended; its record beside it says what it holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cavmae.dataset.records import encode_clip
from cavmae.dataset.schema import Row
from cavmae.dataset.tar import ShardWriter
from cavmae.media.clip import Clip, ClipSettings, MediaRejected
from cavmae.media.decode import read_clip
from cavmae.media.extracted import read_extracted
from cavmae.storage import read_json, sha256_file, sha256_json, write_atomic, write_json

FORMAT = 1


@dataclass(frozen=True)
class ShardTask:
    """One shard to be written: its rows of the manifest, and the clips that are known to break the decoder."""

    name: str
    rows: Sequence[Row]
    settings: ClipSettings
    jpeg_quality: int
    poisoned: Mapping[str, tuple[str, str]]  # video_id -> (reason, sentence)

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the shard's bytes; labels do not."""
        rows = [[row[key] for key in ("video_id", "path", "frames", "start_s", "end_s", "sha256")] for row in self.rows]
        return sha256_json([FORMAT, self.name, rows, asdict(self.settings), self.jpeg_quality])


def shard_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a shard's tar and of its record."""
    return folder / f"{name}.tar", folder / f"{name}.json"


def is_written(folder: Path, task: ShardTask) -> bool:
    """True where the shard lies there whole, made of the same clips with the same settings."""
    tar, record = shard_paths(folder, task.name)
    if not tar.is_file() or not record.is_file():
        return False
    written = read_json(record)
    return bool(written.get("fingerprint") == task.fingerprint and written.get("bytes") == tar.stat().st_size)


def write_shard(folder: Path, task: ShardTask, on_clip: Callable[[str], None]) -> None:
    """Write `<name>.tar` and then `<name>.json`, each whole or not at all; `on_clip` hears of every clip before it is read.

    The record holds size and SHA-256 of the tar, offset and length of each clip in it, the clips' media facts and the
    quarantine rows of those that could not be used.
    """
    tar, record = shard_paths(folder, task.name)
    record.unlink(missing_ok=True)
    members: dict[str, tuple[int, int]] = {}
    facts: list[dict[str, Any]] = []
    quarantine: list[Row] = []
    with write_atomic(tar) as partial:
        with partial.open("wb") as file:
            writer = ShardWriter(file)
            for row in task.rows:
                video_id = row["video_id"]
                on_clip(video_id)
                try:
                    clip = _read(row, task)
                except MediaRejected as rejection:
                    quarantine.append(_quarantined(row, rejection.reason, rejection.detail))
                    continue
                except _Poisoned as poisoned:
                    quarantine.append(_quarantined(row, *poisoned.args))
                    continue
                members[video_id] = writer.add_clip(video_id, encode_clip(clip, task.settings.sample_rate, task.jpeg_quality))
                facts.append({"video_id": video_id, **asdict(clip.facts)})
            writer.close()
        size, digest = partial.stat().st_size, sha256_file(partial)
    write_json(
        record,
        {
            "format": FORMAT,
            "name": task.name,
            "fingerprint": task.fingerprint,
            "bytes": size,
            "sha256": digest,
            "members": members,
            "facts": facts,
            "quarantine": quarantine,
        },
    )


class _Poisoned(Exception):
    """The clip is known to kill or hang the decoder."""


def _read(row: Row, task: ShardTask) -> Clip:
    if row["video_id"] in task.poisoned:
        raise _Poisoned(*task.poisoned[row["video_id"]])
    if row["frames"] is not None:
        return read_extracted(Path(row["path"]), Path(row["frames"]), row["name"], task.settings)
    return read_clip(Path(row["path"]), row["start_s"], row["end_s"], task.settings)


def _quarantined(row: Row, reason: str, detail: str) -> Row:
    return {"video_id": row["video_id"], "path": row["path"], "step": "extract", "reason": reason, "detail": detail}
