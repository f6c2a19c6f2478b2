"""Splits: stratified, seeded, every label gets its share, and nothing that was placed ever moves."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cavmae.dataset.splits import SPLITS, place_groups


def groups(label: str, count: int, first: int = 0) -> dict[str, list[str]]:
    return {f"{label}{number}": [label] for number in range(first, first + count)}


def placed(labels_of: dict[str, list[str]], known: dict[str, str] | None = None, seed: int = 0) -> dict[str, str]:
    return place_groups(labels_of, known or {}, seed, val_share=0.1, test_share=0.2)


def test_every_label_gets_its_share_of_every_split() -> None:
    labels_of = {**groups("dog", 100), **groups("cat", 40), **groups("owl", 10)}
    counts = Counter((labels_of[group][0], split) for group, split in placed(labels_of).items())
    assert [counts["dog", split] for split in SPLITS] == [70, 10, 20]
    assert [counts["cat", split] for split in SPLITS] == [28, 4, 8]
    assert [counts["owl", split] for split in SPLITS] == [7, 1, 2]


@pytest.mark.parametrize(("count", "expected"), [(1, {"train"}), (2, {"train"}), (3, set(SPLITS)), (4, set(SPLITS))])
def test_a_label_with_three_groups_stands_in_every_split_and_a_rarer_one_in_train(count: int, expected: set[str]) -> None:
    assert set(placed(groups("dog", count)).values()) == expected


def test_a_share_of_zero_leaves_the_split_empty() -> None:
    split = place_groups(groups("dog", 50), {}, 0, val_share=0.0, test_share=0.5)
    assert Counter(split.values()) == {"train": 25, "test": 25}


def test_the_seed_decides_who_goes_where_but_not_how_many() -> None:
    labels_of = groups("dog", 60)
    one, same, other = placed(labels_of, seed=1), placed(labels_of, seed=1), placed(labels_of, seed=2)
    assert one == same != other
    assert Counter(one.values()) == Counter(other.values())


def test_the_order_in_which_groups_are_named_does_not_matter() -> None:
    labels_of = {**groups("dog", 30), **groups("cat", 20)}
    assert placed(labels_of) == placed(dict(reversed(labels_of.items())))


def test_a_group_with_several_labels_counts_for_the_rarest() -> None:
    labels_of = {**groups("common", 40), **{f"both{number}": ["common", "rare"] for number in range(10)}}
    split = placed(labels_of)
    assert Counter(split[f"both{number}"] for number in range(10)) == {"train": 7, "val": 1, "test": 2}


def test_train_does_not_go_empty_for_the_sake_of_the_others() -> None:
    assert "train" in place_groups(groups("dog", 3), {}, 0, val_share=0.49, test_share=0.49).values()


LABELLED = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4), st.lists(st.sampled_from("xyz"), max_size=2, unique=True), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(LABELLED, LABELLED, st.integers(0, 5))
def test_adding_groups_moves_no_old_one(old: dict[str, list[str]], added: dict[str, list[str]], seed: int) -> None:
    before = placed(old, seed=seed)
    after = placed({**added, **old}, before, seed)
    assert set(after) == set(old) | set(added)
    assert {group: after[group] for group in old} == before


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(3, 12), min_size=1, max_size=5))
def test_however_data_grows_a_label_with_enough_groups_stands_in_every_split(steps: list[int]) -> None:
    known: dict[str, str] = {}
    count = 0
    for step in steps:
        count += step
        known = placed(groups("dog", count), known)
    counts = Counter(known.values())
    assert set(counts) == set(SPLITS)
    assert counts["train"] >= count // 3
    assert counts["test"] <= 0.2 * count + len(steps)
