"""What became of the clips from one version of a data set to another."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cavmae.dataset.schema import CLIPS, QUARANTINE, Row, read_rows
from cavmae.dataset.versions import CLIPS_FILE, QUARANTINE_FILE

KINDS = ("added", "removed", "relabelled", "changed", "moved", "quarantined", "released")


@dataclass(frozen=True)
class _Clip:
    """What is compared of a clip."""

    content: tuple[str, float, float]  # hash of the file, and the window
    labels: tuple[str, ...]
    split: str
    path: str


@dataclass
class Difference:
    """Clips by what became of them, each a record with its `video_id`; the numbers of clips and of rejects in both versions."""

    clips: tuple[int, int] = (0, 0)
    quarantined: tuple[int, int] = (0, 0)
    found: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "clips": {"before": self.clips[0], "now": self.clips[1]},
            "quarantined": {"before": self.quarantined[0], "now": self.quarantined[1]},
            "counts": {kind: len(records) for kind, records in self.found.items()},
            **self.found,
        }


def difference(before: Path, now: Path) -> Difference:
    """Compare the tables of two folders.

    A clip is its `video_id`. `changed`: other content or another window under the same id; `moved`: another split; `quarantined`:
    rejected now, and not before; `released`: rejected before, and not now. Raises InputError for a file of another shape.
    """
    old, new = _clips(before), _clips(now)
    rejected, rejects = _quarantine(before), _quarantine(now)
    made = Difference((len(old), len(new)), (len(rejected), len(rejects)))
    found = made.found
    paths = {key[1] for key in rejects}
    for name, clip in old.items():
        there = new.get(name)
        if there is None:
            if clip.path not in paths:
                found["removed"].append({"video_id": name, "path": clip.path, "labels": clip.labels, "split": clip.split})
            continue
        if there.labels != clip.labels:
            found["relabelled"].append({"video_id": name, "before": clip.labels, "now": there.labels})
        if there.content != clip.content:
            found["changed"].append({"video_id": name, "before": clip.content, "now": there.content})
        if there.split != clip.split:
            found["moved"].append({"video_id": name, "before": clip.split, "now": there.split})
    for name, clip in new.items():
        if name not in old:
            found["added"].append({"video_id": name, "path": clip.path, "labels": clip.labels, "split": clip.split})
    found["quarantined"] = [row for key, row in rejects.items() if key not in rejected]
    found["released"] = [row for key, row in rejected.items() if key not in rejects]
    for records in found.values():
        records.sort(key=lambda record: (record["video_id"] or "", record.get("path") or ""))
    return made


def _clips(folder: Path) -> dict[str, _Clip]:
    splits: dict[str, str] = {}
    labels: dict[tuple[str, ...], tuple[str, ...]] = {}  # one object for all clips that have them

    def clip(row: Row) -> _Clip:
        own = tuple(sorted(row["labels"] or ()))
        content = (row["sha256"], row["start_s"], row["end_s"])
        return _Clip(content, labels.setdefault(own, own), splits.setdefault(row["split"], row["split"]), row["path"])

    return {row["video_id"]: clip(row) for row in read_rows(folder / CLIPS_FILE, CLIPS)}


def _quarantine(folder: Path) -> dict[tuple[str | None, str], Row]:
    path = folder / QUARANTINE_FILE
    return {(row["video_id"], row["path"]): row for row in read_rows(path, QUARANTINE)} if path.is_file() else {}
