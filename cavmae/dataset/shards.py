"""Writing one shard: clips are decoded one after another and appended; its record beside it says what it holds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cavmae.dataset.fetching import at_hand, is_too_large
from cavmae.dataset.records import encode_clip
from cavmae.dataset.schema import Row
from cavmae.dataset.shelf import Shelf
from cavmae.dataset.tar import ShardWriter
from cavmae.media.clip import Clip, ClipSettings, MediaFacts, MediaRejected
from cavmae.media.decode import read_clip
from cavmae.media.extracted import read_extracted
from cavmae.storage import sha256_file, sha256_json, write_atomic, write_json

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
    max_download_bytes: int | None = None  # of a source on S3

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the shard's bytes; labels do not, and where the content of a source lies does not."""
        rows = [[row[key] for key in ("video_id", "path", "frames", "start_s", "end_s", "sha256")] for row in self.rows]
        for values, row in zip(rows, self.rows, strict=True):
            if is_too_large(row, self.max_download_bytes):
                values.append("too_large")
        return sha256_json([FORMAT, self.name, rows, asdict(self.settings), self.jpeg_quality])


def shard_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a shard's tar and of its record."""
    return folder / f"{name}.tar", folder / f"{name}.json"


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
                with ExitStack() as stack:
                    source = _source(row, task, folder, stack)
                    on_clip(video_id)  # now, because only decoding may end or hang the process
                    outcome = source if isinstance(source, _Rejection) else _outcome(row, source, task, read)
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


def store_shard(shelf: Shelf, folder: Path, task: ShardTask, on_clip: OnClip, read: Reader = read_row) -> None:
    """Write a shard into `folder`, put it on the shelf and remove it here.

    The record goes last: a shard without it is not there. One that another process has put there in the meantime stays.
    """
    write_shard(folder, task, on_clip, read)
    tar, record = shard_paths(folder, task.name)
    if not shelf.holds(task.name, task.fingerprint):
        shelf.store.put(shelf.tar(task.name), tar)
        shelf.store.put(shelf.record_name(task.name), record)
    tar.unlink()
    record.unlink()


class _Rejection(NamedTuple):
    reason: str
    detail: str


def _source(row: Row, task: ShardTask, folder: Path, stack: ExitStack) -> Path | _Rejection:
    """A path at which the clip's source can be read until `stack` closes, or why there is none."""
    if row["video_id"] in task.poisoned:
        return _Rejection(*task.poisoned[row["video_id"]])
    try:
        return stack.enter_context(at_hand(row, folder, task.max_download_bytes))
    except MediaRejected as rejection:
        return _Rejection(rejection.reason, rejection.detail)


def _outcome(row: Row, source: Path, task: ShardTask, read: Reader) -> tuple[dict[str, bytes], MediaFacts] | _Rejection:
    """The members and facts of a clip, or why there are none."""
    try:
        clip = read({**row, "path": str(source)}, task.settings)
        return encode_clip(clip, task.settings.sample_rate, task.jpeg_quality), clip.facts
    except MediaRejected as rejection:
        return _Rejection(rejection.reason, rejection.detail)
    except Exception as error:  # whatever a file does to the libraries that read it, the other files go on
        log.warning("extract: clip %s: %s: %s", row["video_id"], type(error).__name__, error)
        return _Rejection("decoder_crashed", f"Decoding this file failed within a library ({type(error).__name__}).")


def _quarantined(row: Row, why: _Rejection) -> Row:
    return {"video_id": row["video_id"], "path": row["path"], "step": "extract", "reason": why.reason, "detail": why.detail}
