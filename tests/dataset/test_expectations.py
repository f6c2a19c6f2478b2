"""Every expectation holds on a sound delivery and fails on one that is broken in just the place it watches."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset.expectations import expectations
from cavmae.dataset.validation import reject_clips
from cavmae.dataset.validation_input import read_delivery
from cavmae.dataset.validation_tables import build_tables, extracted_clips, has_labels
from cavmae.dataset.validator import Outcome, check_tables
from tests.dataset.validation_delivery import DeliveryFolders, limits, quarantined

Break = Callable[[DeliveryFolders], None]


def check(delivery: DeliveryFolders, folder: Path, beside: set[str] | None = None, **changes: Any) -> list[Outcome]:
    """The outcome of every expectation that applies, or of those that share a table with the ones named in `beside`."""
    read = read_delivery(*delivery.write(folder))
    labelled = has_labels(read)
    clips = extracted_clips(read)
    rejected = reject_clips(clips, limits(**changes), labelled)
    accepted = clips[~clips["position"].isin(rejected["position"])].reset_index(drop=True)
    wanted, _ = expectations(limits(**changes), labelled)
    near = {item.table for item in wanted if beside is None or item.name in beside}
    wanted = [item for item in wanted if item.table in near]
    return check_tables(build_tables(read, accepted, len(rejected)), wanted).outcomes


def unmet(outcomes: list[Outcome]) -> set[str]:
    return {outcome.expectation.name for outcome in outcomes if not outcome.passed}


def clip(row: int, **values: Any) -> Break:
    return lambda delivery: delivery.clips[row].update(values)


def fact(row: int, **values: Any) -> Break:
    return lambda delivery: delivery.facts[row].update(values)


def shard(row: int, **values: Any) -> Break:
    return lambda delivery: delivery.index["shards"][row].update(values)


def _same_group_in_two_splits(delivery: DeliveryFolders) -> None:
    delivery.clips[6]["group"] = delivery.clips[0]["group"]


def _same_content_in_two_splits(delivery: DeliveryFolders) -> None:
    delivery.clips[6].update(sha256=delivery.clips[0]["sha256"], start_s=20.0, end_s=30.0)


def _same_window_twice(delivery: DeliveryFolders) -> None:
    delivery.clips[1].update(sha256=delivery.clips[0]["sha256"])


def _renamed_as_another(delivery: DeliveryFolders) -> None:
    delivery.clips[10]["video_id"] = delivery.clips[0]["video_id"]
    delivery.extract_quarantine.clear()


def _renamed(new: str | None) -> Break:
    def change(delivery: DeliveryFolders) -> None:
        delivery.clips[10]["video_id"] = new
        delivery.extract_quarantine[0]["video_id"] = new

    return change


def _lost(delivery: DeliveryFolders) -> None:
    delivery.extract_quarantine.clear()


def _extracted_and_rejected(delivery: DeliveryFolders) -> None:
    delivery.clips.pop()
    delivery.extract_quarantine[0] = quarantined("bark_train_0", "extract")


def _from_nowhere(delivery: DeliveryFolders) -> None:
    delivery.facts.append({**delivery.facts[0], "video_id": "stranger"})


def _rejected_twice(delivery: DeliveryFolders) -> None:
    delivery.extract_quarantine.append(quarantined("mute", "extract", "too_short"))


def _label_only_in_test(delivery: DeliveryFolders) -> None:
    delivery.labels.append("moo")
    delivery.clips[8]["labels"] = ["bark", "moo"]


def _label_once_in_train(delivery: DeliveryFolders) -> None:
    delivery.labels.append("moo")
    delivery.clips[0]["labels"] = ["bark", "moo"]


def _without_split(split: str) -> Break:
    def change(delivery: DeliveryFolders) -> None:
        delivery.clips = [row for row in delivery.clips if row["split"] != split or row["video_id"] == "mute"]
        kept = {row["video_id"] for row in delivery.clips}
        delivery.facts = [row for row in delivery.facts if row["video_id"] in kept]
        delivery.index["shards"] = [entry for entry in delivery.index["shards"] if not entry["name"].startswith(split)]

    return change


def _not_indexed(delivery: DeliveryFolders) -> None:
    del delivery.index["shards"][1]


def _many_rejected_at_ingest(delivery: DeliveryFolders) -> None:
    delivery.ingest_quarantine *= 30


BROKEN: list[tuple[str, Break, set[str]]] = [
    ("video_id_present", _renamed(None), set()),
    ("video_id_unique", _renamed_as_another, {"shard_counts_agree"}),
    ("video_id_characters", _renamed("../mute"), set()),
    ("video_id_characters", _renamed("mute\n"), set()),
    ("video_id_characters", _renamed("müte"), set()),
    ("labels_present", clip(10, labels=None), set()),
    ("split_present", clip(10, split=None), set()),
    ("group_present", clip(10, group=None), set()),
    ("shard_present", clip(10, shard=None), set()),
    ("sha256_present", clip(10, sha256=None), set()),
    ("sha256_well_formed", clip(10, sha256="d41d8cd98f00b204e9800998ecf8427e"), set()),
    ("split_known", clip(10, split="eval"), set()),
    ("group_in_one_split", _same_group_in_two_splits, set()),
    ("content_in_one_split", _same_content_in_two_splits, set()),
    ("content_unique", _same_window_twice, set()),
    ("labels_listed", clip(0, labels=["bark", "woof"]), set()),
    ("facts_complete", fact(0, level_dbfs=None), set()),
    ("facts_complete", fact(0, silence=math.nan), set()),
    ("duration_in_range", fact(0, duration_s=0.1), set()),
    ("duration_in_range", fact(0, duration_s=61.0), set()),
    ("frames_decoded_enough", fact(0, frames_decoded=0), set()),
    ("sample_rate_enough", fact(0, sample_rate=4410), set()),
    ("channels_in_range", fact(0, channels=9), set()),
    ("channels_in_range", fact(0, channels=0), set()),
    ("level_in_range", fact(0, level_dbfs=-61.0), set()),
    ("level_in_range", fact(0, level_dbfs=-1.3), set()),
    ("silence_in_range", fact(0, silence=0.96), set()),
    ("frame_variance_enough", fact(0, frame_variance=1.9), set()),
    ("label_coverage", _label_only_in_test, set()),
    ("label_train_minimum", _label_once_in_train, set()),
    ("label_used", lambda delivery: delivery.labels.append("moo"), set()),
    ("clip_has_one_fate", _extracted_and_rejected, set()),
    ("clip_has_one_fate", _rejected_twice, {"books_balance"}),
    ("books_balance", _lost, {"clip_has_one_fate"}),
    ("clip_in_manifest", _from_nowhere, set()),
    ("shard_in_index", _not_indexed, set()),
    ("shard_counts_agree", shard(0, clips=7), set()),
    ("shard_file_whole", shard(0, bytes=201), set()),
    ("shard_file_whole", lambda delivery: delivery.tars.pop("val-00000") and None, set()),
    ("quarantined_share", _many_rejected_at_ingest, set()),
    ("train_not_empty", _without_split("train"), {"label_coverage"}),
    ("val_enough", _without_split("val"), set()),
    ("test_enough", _without_split("test"), set()),
]


@pytest.mark.parametrize(("name", "change", "also"), BROKEN, ids=[f"{item[0]}-{at}" for at, item in enumerate(BROKEN)])
def test_a_delivery_broken_in_one_place_fails_just_that_expectation_of_its_table(
    name: str, change: Break, also: set[str], tmp_path: Path
) -> None:
    delivery = DeliveryFolders()
    change(delivery)
    assert unmet(check(delivery, tmp_path, beside={name, *also})) == {name, *also}


def test_a_clip_without_labels_is_named_where_such_clips_may_stay(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.clips[0]["labels"] = []
    assert unmet(check(delivery, tmp_path, allow_unlabelled=True)) == {"clips_labelled"}


def test_every_expectation_is_shown_to_fail() -> None:
    wanted, _ = expectations(limits(), labelled=True)
    assert {item.name for item in wanted} == {name for name, *_ in BROKEN} | {"clips_labelled"}


def test_a_sound_delivery_meets_every_expectation(tmp_path: Path) -> None:
    outcomes = check(DeliveryFolders(), tmp_path)
    assert unmet(outcomes) == set()
    assert len(outcomes) == len({outcome.expectation.name for outcome in outcomes})


def test_media_ranges_forgive_the_share_of_outliers_that_the_limits_name(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.facts[0]["silence"] = 1.0  # one clip of ten
    assert unmet(check(delivery, tmp_path / "a", {"silence_in_range"}, max_outlier_share=0.09)) == {"silence_in_range"}
    assert unmet(check(delivery, tmp_path / "b", {"silence_in_range"}, max_outlier_share=0.11)) == set()


def test_outcomes_count_and_name_the_rows_that_differ(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    for row in range(7):
        delivery.facts[row]["channels"] = 30
    found = next(item for item in check(delivery, tmp_path) if not item.passed)
    assert (found.unexpected, found.observed, len(found.examples)) == (7, "7 of 10 rows differ", 5)
    assert found.examples[0] == "bark_train_0 (channels 30)"


def test_label_expectations_are_left_out_of_a_dataset_without_labels() -> None:
    wanted, skipped = expectations(limits(), labelled=False)
    assert {item.name for item in skipped} == {
        "labels_listed", "clips_labelled", "label_coverage", "label_train_minimum", "label_used"
    }  # fmt: skip
    assert not {item.name for item in wanted} & {item.name for item in skipped}


def test_warnings_close_the_gate_on_request() -> None:
    lenient, _ = expectations(limits(), labelled=True)
    strict, _ = expectations(limits(fail_on_warnings=True), labelled=True)
    assert not all(item.critical for item in lenient)
    assert all(item.critical for item in strict)


@pytest.mark.parametrize("changes", [{"min_duration_s": 61.0}, {"min_level_dbfs": -1.0, "max_level_dbfs": -2.0}])
def test_ranges_that_hold_nothing_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is above"):
        limits(**changes)
