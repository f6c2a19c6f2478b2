"""Writing one shard: clips are decoded one after another and appended; its record beside it says what it holds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cavmae.dataset.records import encode_clip
from cavmae.dataset.schema import Row
from cavmae.dataset.tar import ShardWriter
from cavmae.errors import InputError
from cavmae.media.clip import Clip, ClipSettings, MediaFacts, MediaRejected
from cavmae.media.decode import read_clip
from cavmae.media.extracted import read_extracted
from cavmae.storage import read_json, sha256_file, sha256_json, write_atomic, write_json

log = logging.getLogger(__name__)

FORMAT = 2

OnClip = Callable[[str | None], None]  # hears the id of a clip before it is read, and None after
Reader = Callable[[Row, ClipSettings], Clip]


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
    try:
        written = read_json(record)
    except InputError:
        return False
    return isinstance(written, dict) and (written.get("fingerprint"), written.get("bytes")) == (
        task.fingerprint,
        tar.stat().st_size,
    )


def read_row(row: Row, settings: ClipSettings) -> Clip:
    """Return the clip that a manifest row names; raises MediaRejected where there is none."""
    if row["frames"] is not None:
        return read_extracted(Path(row["path"]), Path(row["frames"]), row["name"], settings)
    return read_clip(Path(row["path"]), row["start_s"], row["end_s"], settings)


def write_shard(folder: Path, task: ShardTask, on_clip: OnClip, read: Reader = read_row) -> None:
    """Write `<name>.tar` and then `<name>.json`, each whole or not at all.

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
                outcome = _outcome(row, task, read)
                on_clip(None)
                if isinstance(outcome, _Rejection):
                    quarantine.append(_quarantined(row, outcome))
                    continue
                content, found = outcome
                members[video_id] = writer.add_clip(video_id, content)
                facts.append({"video_id": video_id, **asdict(found)})
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


class _Rejection(NamedTuple):
    reason: str
    detail: str


def _outcome(row: Row, task: ShardTask, read: Reader) -> tuple[dict[str, bytes], MediaFacts] | _Rejection:
    """The members and facts of a clip, or why there are none."""
    if row["video_id"] in task.poisoned:
        return _Rejection(*task.poisoned[row["video_id"]])
    try:
        clip = read(row, task.settings)
        return encode_clip(clip, task.settings.sample_rate, task.jpeg_quality), clip.facts
    except MediaRejected as rejection:
        return _Rejection(rejection.reason, rejection.detail)
    except Exception as error:  # whatever a file does to the libraries that read it, the other files go on
        log.warning("extract: clip %s: %s: %s", row["video_id"], type(error).__name__, error)
        return _Rejection("decoder_crashed", f"Decoding this file failed within a library ({type(error).__name__}).")


def _quarantined(row: Row, why: _Rejection) -> Row:
    return {"video_id": row["video_id"], "path": row["path"], "step": "extract", "reason": why.reason, "detail": why.detail}
