"""What a dataset has to satisfy before a model is trained on it: each expectation by name, severity and sentence."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cavmae.params import Section

Table = Literal["manifest", "clips", "labels", "books", "shards", "totals"]
Check = Literal["not_null", "unique", "matches", "in_set", "between"]

SPLITS = ("train", "val", "test")


class Limits(Section):
    """The knobs of the checks: shares are 0..1, times are seconds, levels are dB relative to full scale."""

    allow_unlabelled: bool
    allow_static_pictures: bool
    min_clips_per_label_train: PositiveInt
    max_quarantined_share: float = Field(ge=0, le=1)
    max_outlier_share: float = Field(ge=0, lt=1)
    min_duration_s: float = Field(gt=0)
    max_duration_s: float = Field(gt=0)
    min_frames_decoded: PositiveInt
    min_sample_rate_hz: PositiveInt
    max_channels: PositiveInt
    min_level_dbfs: float = Field(le=0)
    max_level_dbfs: float = Field(le=3)
    max_silence: float = Field(ge=0, le=1)
    min_frame_variance: float = Field(ge=0)
    min_clips_val: NonNegativeInt
    min_clips_test: NonNegativeInt
    fail_on_warnings: bool

    @model_validator(mode="after")
    def _ranges_hold_something(self) -> "Limits":
        if self.min_duration_s > self.max_duration_s:
            raise ValueError(f"min_duration_s {self.min_duration_s} is above max_duration_s {self.max_duration_s}")
        if self.min_level_dbfs > self.max_level_dbfs:
            raise ValueError(f"min_level_dbfs {self.min_level_dbfs} is above max_level_dbfs {self.max_level_dbfs}")
        return self


@dataclass(frozen=True)
class Expectation:
    """One check of one column; `arguments` go to the Great Expectations class that `check` stands for."""

    name: str
    table: Table
    column: str
    check: Check
    critical: bool
    sentence: str
    arguments: dict[str, Any] = field(default_factory=dict)


def expectations(limits: Limits, labelled: bool) -> tuple[list[Expectation], list[Expectation]]:
    """Return those to check, and those without a meaning here: the ones about labels where nothing is labelled."""
    checks = [*_manifest(), *_clips(limits), *_media(limits), *_labels(limits), *_books(limits)]
    about_labels = [item for item in checks if _about_labels(item)]
    if labelled:
        return checks, []
    return [item for item in checks if not _about_labels(item)], about_labels


def _about_labels(item: Expectation) -> bool:
    return item.table == "labels" or item.name in ("labels_listed", "clips_labelled")


def _manifest() -> list[Expectation]:
    present = {
        "video_id": "an id",
        "labels": "a list of labels, be it empty",
        "split": "a split",
        "group": "a group",
        "shard": "a shard",
        "sha256": "the SHA-256 of its file",
    }
    return [
        *(
            Expectation(f"{column}_present", "manifest", column, "not_null", True, f"Every manifest row names {what}.")
            for column, what in present.items()
        ),
        Expectation("video_id_unique", "manifest", "video_id", "unique", True, "No two manifest rows share an id."),
        Expectation(
            "video_id_characters", "manifest", "video_id", "matches", True,
            "An id is made of letters, digits, '_' and '-', so that it can name a member of a shard.",
            {"regex": r"\A[A-Za-z0-9_-]+\Z"},
        ),
        Expectation(
            "split_known", "manifest", "split", "in_set", True,
            "Every split is train, val or test.", {"value_set": list(SPLITS)},
        ),
        Expectation(
            "sha256_well_formed", "manifest", "sha256", "matches", True,
            "A SHA-256 is 64 hexadecimal digits; without it copies of a file go unseen.",
            {"regex": r"\A[0-9a-f]{64}\Z"},
        ),
    ]  # fmt: skip


def _clips(limits: Limits) -> list[Expectation]:
    severe = limits.fail_on_warnings
    none = {"min_value": 0, "max_value": 0}
    one = {"min_value": 1, "max_value": 1}
    return [
        Expectation(
            "group_in_one_split", "clips", "splits_of_group", "between", True,
            "No group of clips (a source file and all that is cut from it) stands in two splits.", one,
        ),
        Expectation(
            "content_in_one_split", "clips", "splits_of_content", "between", True,
            "No file content stands in two splits, under whatever name.", one,
        ),
        Expectation(
            "content_unique", "clips", "copies", "between", True,
            "No two clips are the same window of the same content.", one,
        ),
        Expectation(
            "labels_listed", "clips", "unlisted_labels", "between", True,
            "Every label of a clip is in labels.csv.", none,
        ),
        Expectation(
            "clips_labelled", "clips", "label_count", "between", severe,
            "In a labelled dataset every clip has a label.", {"min_value": 1},
        ),
        Expectation(
            "facts_complete", "clips", "missing_facts", "between", True,
            "Every accepted clip has the media facts that the ranges are checked on.", none,
        ),
    ]  # fmt: skip


def _media(limits: Limits) -> list[Expectation]:
    severe = limits.fail_on_warnings
    mostly = {"mostly": 1 - limits.max_outlier_share}
    share = f"a share of {limits.max_outlier_share:.4g} may differ"
    return [
        Expectation(
            "duration_in_range", "clips", "duration_s", "between", True,
            f"A clip lasts {limits.min_duration_s:g} to {limits.max_duration_s:g} s.",
            {"min_value": limits.min_duration_s, "max_value": limits.max_duration_s},
        ),
        Expectation(
            "frames_decoded_enough", "clips", "frames_decoded", "between", True,
            f"At least {limits.min_frames_decoded} frames of a clip were decoded.",
            {"min_value": limits.min_frames_decoded},
        ),
        Expectation(
            "sample_rate_enough", "clips", "sample_rate", "between", severe,
            f"Sound was recorded at {limits.min_sample_rate_hz} Hz or more; {share}.",
            {"min_value": limits.min_sample_rate_hz, **mostly},
        ),
        Expectation(
            "channels_in_range", "clips", "channels", "between", severe,
            f"Sound has 1 to {limits.max_channels} channels; {share}.",
            {"min_value": 1, "max_value": limits.max_channels, **mostly},
        ),
        Expectation(
            "level_in_range", "clips", "level_dbfs", "between", severe,
            f"The level is {limits.min_level_dbfs:g} to {limits.max_level_dbfs:g} dBFS, neither faint nor full-scale "
            f"noise; {share}.",
            {"min_value": limits.min_level_dbfs, "max_value": limits.max_level_dbfs, **mostly},
        ),
        Expectation(
            "silence_in_range", "clips", "silence", "between", severe,
            f"Silence takes up 0 to {limits.max_silence:g} of a clip; {share}.",
            {"min_value": 0, "max_value": limits.max_silence, **mostly},
        ),
        Expectation(
            "frame_variance_enough", "clips", "frame_variance", "between", severe,
            f"The picture moves: variance over the frames is {limits.min_frame_variance:g} or more; {share}.",
            {"min_value": limits.min_frame_variance, **mostly},
        ),
    ]  # fmt: skip


def _labels(limits: Limits) -> list[Expectation]:
    return [
        Expectation(
            "label_coverage", "labels", "train_where_held_out", "between", True,
            "Every label of val or test occurs in train.", {"min_value": 1},
        ),
        Expectation(
            "label_train_minimum", "labels", "train_where_used", "between", True,
            f"A label that occurs in train has at least {limits.min_clips_per_label_train} clips there.",
            {"min_value": limits.min_clips_per_label_train},
        ),
        Expectation(
            "label_used", "labels", "clips", "between", limits.fail_on_warnings,
            "Every label of labels.csv occurs.", {"min_value": 1},
        ),
    ]  # fmt: skip


def _books(limits: Limits) -> list[Expectation]:
    severe = limits.fail_on_warnings
    none = {"min_value": 0, "max_value": 0}
    yes = {"value_set": [True]}
    return [
        Expectation(
            "clip_has_one_fate", "books", "fates", "between", True,
            "Every manifest row was extracted or quarantined, once.", {"min_value": 1, "max_value": 1},
        ),
        Expectation(
            "clip_in_manifest", "books", "in_manifest", "in_set", True,
            "Whatever extract wrote or rejected stands in the manifest.", yes,
        ),
        Expectation(
            "books_balance", "totals", "unaccounted", "between", True,
            "Manifest rows in = clips out + quarantined, exactly.", none,
        ),
        Expectation("shard_in_index", "shards", "in_index", "in_set", True, "Every shard with clips is indexed.", yes),
        Expectation(
            "shard_counts_agree", "shards", "count_difference", "between", True,
            "The index counts as many clips in a shard as were extracted for it.", none,
        ),
        Expectation(
            "shard_file_whole", "shards", "bytes_difference", "between", True,
            "Every indexed shard is there, with the size that the index gives.", none,
        ),
        Expectation(
            "quarantined_share", "totals", "quarantined_share", "between", True,
            f"At most {limits.max_quarantined_share:g} of all inputs were quarantined.",
            {"min_value": 0, "max_value": limits.max_quarantined_share},
        ),
        Expectation(
            "train_not_empty", "totals", "train", "between", True, "The train split has clips.", {"min_value": 1}
        ),
        Expectation(
            "val_enough", "totals", "val", "between", severe,
            f"The val split has at least {limits.min_clips_val} clips, to choose a model by.",
            {"min_value": limits.min_clips_val},
        ),
        Expectation(
            "test_enough", "totals", "test", "between", severe,
            f"The test split has at least {limits.min_clips_test} clips, to report on.",
            {"min_value": limits.min_clips_test},
        ),
    ]  # fmt: skip
