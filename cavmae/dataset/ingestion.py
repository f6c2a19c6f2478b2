"""From candidates to the clip manifest: which inputs become clips, under which id, in which split, in which shard."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cavmae.dataset.departed import Departed
from cavmae.dataset.examining import Refused
from cavmae.dataset.identity import frame_folders, video_id, with_pictures
from cavmae.dataset.matching import Before, Content, Place
from cavmae.dataset.placement import Placement, place, plan_shards
from cavmae.dataset.schema import Row
from cavmae.dataset.sources.candidate import Candidate, is_link, is_there, portable, printable
from cavmae.dataset.sources.stored import StoredFile
from cavmae.media.clip import MediaRejected
from cavmae.media.sniff import media_duration, sniff

_NOT_PLAIN = "The name holds `..`, an empty part or control characters, or is no valid text; rename the object."


@dataclass(frozen=True)
class Window:
    """How files become clips: the first `window_s` seconds, or with `hop_s` one clip every `hop_s` seconds."""

    window_s: float
    hop_s: float | None


def reject_at_sight(
    candidates: Iterable[Candidate], stored: Mapping[StoredFile, StoredFile | Refused] | None = None
) -> tuple[list[Candidate], list[Row]]:
    """Split candidates into those worth reading and quarantine rows for the missing, empty and non-media ones.

    `stored` is what was found of those that lie in a store; it is kept with those that are accepted.
    """
    accepted, quarantine = [], []
    for candidate in candidates:
        found = stored[candidate.stored] if stored and candidate.stored else None
        if isinstance(found, StoredFile):
            accepted.append(replace(candidate, stored=found))
            continue
        if isinstance(found, Refused):
            quarantine.append(quarantine_row(candidate, found.reason, found.detail or _missing(candidate)))
            continue
        try:
            if is_there(candidate.path):
                sniff(candidate.path)
                accepted.append(candidate)
            elif is_link(candidate.path):
                quarantine.append(quarantine_row(candidate, "missing_file", "This is a link to a file that is not there."))
            else:
                quarantine.append(quarantine_row(candidate, "missing_file", _missing(candidate)))
        except MediaRejected as rejection:
            quarantine.append(quarantine_row(candidate, rejection.reason, rejection.detail))
    return accepted, quarantine


def _missing(candidate: Candidate) -> str:
    return candidate.missing or f"There is no such file; it is named in {candidate.where}."


def cut_windows(candidates: Iterable[Candidate], window: Window) -> list[Candidate]:
    """Give every candidate its start and end; with a hop, long files give several clips, a shorter rest at the end none."""
    cut: list[Candidate] = []
    for candidate in candidates:
        start = candidate.start_s or 0.0
        fixed = candidate.start_s is not None or candidate.end_s is not None or candidate.frames is not None
        if window.hop_s is None or fixed:
            end = candidate.end_s if candidate.end_s is not None else start + window.window_s
            cut.append(replace(candidate, start_s=start, end_s=end))
            continue
        measured = candidate.stored.duration_s if candidate.stored else _duration(candidate.path)
        duration = measured or window.window_s
        count = max(1, 1 + math.floor((duration - window.window_s) / window.hop_s + 1e-6))
        for number in range(count):
            at = round(number * window.hop_s, 3)
            name = candidate.name if count == 1 else f"{candidate.name}_{round(at * 1000):06d}"
            cut.append(replace(candidate, name=name, start_s=at, end_s=round(at + window.window_s, 3)))
    return cut


def _duration(path: Path) -> float | None:
    try:
        return media_duration(path)
    except MediaRejected:
        return None  # one clip, which `extract` rejects with its reason


def build_manifest(
    candidates: Sequence[Candidate],
    hashes: dict[Path, str | OSError],
    previous: list[Row],
    departed: Departed,
    placement: Placement,
    source: str,
) -> tuple[list[Row], list[Row]]:
    """Return manifest rows, sorted by shard, and quarantine rows of unreadable and duplicate files.

    `hashes` are those of the files that lie in no store; the others carry theirs.
    A clip that `previous` holds (`Before` says which) keeps its id and its shard; contents and groups that it holds, or that
    `departed` remembers, keep their split, unless the source itself names another.
    """
    taken = {row["video_id"] for row in previous}
    rows: list[Row] = []
    digests, quarantine = _digests(candidates, hashes)
    earlier = Before(previous, departed, {_key(candidate): digest for candidate, digest in digests})
    first_with: dict[Content, Candidate] = {}
    group_of = {row["sha256"]: row["group"] for row in previous}  # copies of a file, cut elsewhere, are of its group
    for candidate, digest in sorted(digests, key=lambda found: earlier.rank(_key(found[0]))):
        content = (digest, candidate.start_s, candidate.end_s)
        if content in first_with:
            quarantine.append(quarantine_row(candidate, "duplicate", _duplicate(candidate, first_with[content])))
            continue
        path, stored = candidate.shown, candidate.stored
        first_with[content] = candidate
        before = earlier.row(_key(candidate), digest)
        group = candidate.group or (before["group"] if before else group_of.get(digest, path))
        group_of.setdefault(digest, group)
        rows.append(
            {
                "video_id": before["video_id"] if before else video_id(candidate.name, _where(candidate), taken),
                "name": candidate.name,
                "path": path,
                "frames": portable(candidate.frames) if candidate.frames else None,
                "start_s": candidate.start_s,
                "end_s": candidate.end_s,
                "labels": list(candidate.labels),
                "group": group,
                "split": candidate.split,
                "shard": before["shard"] if before else None,
                "sha256": digest,
                "bytes": stored.size if stored else candidate.path.stat().st_size,
                "source": source,
                "weight": candidate.weight,
                "object": stored.place if stored and stored.place != path else None,
            }
        )
    place(rows, previous, departed, placement)
    plan_shards(rows, previous, placement.shard_clips)
    return sorted(rows, key=lambda row: (row["shard"], row["video_id"])), quarantine


def _digests(
    candidates: Sequence[Candidate], hashes: Mapping[Path, str | OSError]
) -> tuple[list[tuple[Candidate, str]], list[Row]]:
    """The hash of each candidate's content, and quarantine rows of those that cannot be read."""
    folders: dict[Path, list[Path]] = {}  # the clips of a list share theirs
    found: list[tuple[Candidate, str]] = []
    quarantine: list[Row] = []
    for candidate in candidates:
        digest = candidate.stored.sha256 or "" if candidate.stored else hashes[candidate.path]
        if isinstance(digest, OSError):
            quarantine.append(quarantine_row(candidate, "unreadable_file", f"The file cannot be read ({digest.strerror})."))
            continue
        if candidate.frames is not None:
            if candidate.frames not in folders:
                folders[candidate.frames] = frame_folders(candidate.frames)
            digest = with_pictures(digest, folders[candidate.frames], candidate.name)
        found.append((candidate, digest))
    return found, quarantine


def _where(candidate: Candidate) -> str:
    return f"{candidate.shown} {candidate.start_s} {candidate.end_s}"


def _duplicate(candidate: Candidate, kept: Candidate) -> str:
    path = kept.shown
    if candidate.shown != path:
        return f"The file has the same content as {path}, which is kept."
    sentence = f"The same clip of this file stands in {kept.where}, which is kept"
    return f"{sentence}; write its labels together there." if candidate.labels != kept.labels else f"{sentence}."


def quarantine_row(candidate: Candidate, reason: str, detail: str) -> Row:
    """A row of the quarantine table for an input that `ingest` rejects."""
    return {
        "video_id": None,
        "path": printable(candidate.shown),
        "step": "ingest",
        "reason": reason,
        "detail": detail,
    }


def split_unprintable(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Row]]:
    """Reject files whose name is not valid UTF-8, and in a store not plain: no table, tar or URI could name them."""
    accepted, quarantine = [], []
    for candidate in candidates:
        if candidate.stored:
            if candidate.stored.well_named:
                accepted.append(candidate)
            else:
                quarantine.append(quarantine_row(candidate, "bad_file_name", _NOT_PLAIN))
        elif printable(str(candidate.path)) == str(candidate.path):
            accepted.append(candidate)
        else:
            quarantine.append(quarantine_row(candidate, "bad_file_name", "The file name is not valid UTF-8; rename the file."))
    return accepted, quarantine


def _key(candidate: Candidate) -> Place:
    return candidate.shown, candidate.start_s, candidate.end_s
