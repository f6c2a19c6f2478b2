"""Placing groups of clips into train, val and test: seeded, stratified by label, and never moved by what is added later."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

SPLITS = ("train", "val", "test")


def place_groups(
    labels_of: Mapping[str, Sequence[str]], known: Mapping[str, str], seed: int, val_share: float, test_share: float
) -> dict[str, str]:
    """Return the split of every group of `labels_of` ({group: its labels}); groups in `known` keep theirs.

    A group is counted under the rarest of its labels. Within a label, new groups are ranked by a hash of seed and name; the
    first fill what test and val lack of their share, the rest is train. A label under which three groups or more are counted
    stands in every split whose share is above 0, one with fewer stands in train.
    """
    frequency = Counter(label for labels in labels_of.values() for label in labels)
    members: dict[str, list[str]] = defaultdict(list)
    for group, labels in labels_of.items():
        members[min(labels, key=lambda label: (frequency[label], label), default="")].append(group)
    placed = {group: known[group] for group in labels_of if group in known}
    for groups in members.values():
        counts = Counter(placed[group] for group in groups if group in placed)
        lacking = {
            "test": _wanted(len(groups), test_share) - counts["test"],
            "val": _wanted(len(groups), val_share) - counts["val"],
        }
        new = sorted((group for group in groups if group not in placed), key=lambda group: _rank(seed, group))
        spare = len(new) if counts["train"] else max(len(new) - 1, 0)  # train never goes empty for the others' sake
        for group in new:
            split = next((name for name in ("test", "val") if lacking[name] > 0), "train") if spare > 0 else "train"
            if split != "train":
                lacking[split] -= 1
                spare -= 1
            placed[group] = split
    return placed


def _wanted(count: int, share: float) -> int:
    if share <= 0 or count < 3:
        return 0
    return max(1, int(count * share + 0.5))


def _rank(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()
