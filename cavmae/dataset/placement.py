"""Where the rows of a manifest go: splits by group, and shards that only grow in number."""

from collections import defaultdict
from dataclasses import dataclass

from cavmae.dataset.departed import Departed
from cavmae.dataset.schema import Row
from cavmae.dataset.splits import SPLITS, place_groups


@dataclass(frozen=True)
class Placement:
    """How groups are placed in splits, and clips in shards."""

    seed: int
    val_share: float
    test_share: float
    shard_clips: int


_STRENGTH = ("train", "val", "test")  # what was tested on is not trained on, so test is the strongest


def place(rows: list[Row], previous: list[Row], departed: Departed, placement: Placement) -> None:
    """Set the split of every row that has none: that of its group, in `rows` or before, else as `place_groups` decides.

    A group has the split that it had, or that its contents had, in `previous` or before that; of several the strongest.
    """
    known = _known_splits(rows, previous, departed)
    labels_of: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["split"] is None:
            labels_of[row["group"]].extend(row["labels"])
        else:
            known[row["group"]] = row["split"]
    splits = place_groups(
        {group: sorted(set(labels)) for group, labels in labels_of.items()},
        known,
        placement.seed,
        placement.val_share,
        placement.test_share,
    )
    for row in rows:
        row["split"] = row["split"] or splits[row["group"]]


def _known_splits(rows: list[Row], previous: list[Row], departed: Departed) -> dict[str, str]:
    groups = {row["group"]: row["split"] for row in previous}
    contents = {row["sha256"]: row["split"] for row in previous}
    known: dict[str, str] = {}
    for row in rows:
        group, sha256 = row["group"], row["sha256"]
        found = (groups.get(group) or departed.split_of(group), contents.get(sha256) or departed.split_of(sha256))
        splits = [split for split in (known.get(group), *found) if split is not None]
        if splits:
            known[group] = max(splits, key=_STRENGTH.index)
    return known


def plan_shards(rows: list[Row], previous: list[Row], shard_clips: int) -> None:
    """Clips that have a shard keep it; new ones go to new shards, so that what was written is never touched."""
    for row in rows:
        if row["shard"] is not None and not row["shard"].startswith(f"{row['split']}-"):
            row["shard"] = None  # the source has moved the clip, or its group, to another split
    for split in SPLITS:
        used = (int(row["shard"].rpartition("-")[2]) for row in previous if row["shard"].startswith(f"{split}-"))
        first = 1 + max(used, default=-1)
        new = sorted((row for row in rows if row["split"] == split and row["shard"] is None), key=lambda row: row["video_id"])
        for position, row in enumerate(new):
            row["shard"] = f"{split}-{first + position // shard_clips:05d}"
