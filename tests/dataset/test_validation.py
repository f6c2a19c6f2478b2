"""What `validate` writes: the accepted clips, the books, the verdict and the documents."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cavmae.dataset.schema import CLIPS, QUARANTINE
from cavmae.dataset.shelf import Shelf
from cavmae.dataset.validation import Verdict, validate_dataset
from cavmae.errors import InputError
from cavmae.storage import read_json
from tests.dataset.validation_delivery import DeliveryFolders, limits


def run(delivery: DeliveryFolders, folder: Path, **changes: Any) -> tuple[Verdict, Path]:
    ingest, shards = delivery.write(folder)
    out = folder / "data" / "validated"
    return validate_dataset(ingest, shards, out, limits(**changes)), out


def ids(out: Path) -> list[str]:
    return pq.read_table(out / "clips.parquet")["video_id"].to_pylist()


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_accepted_clips_keep_schema_and_manifest_order(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.facts.reverse()
    verdict, out = run(delivery, tmp_path)
    assert verdict.passed and verdict.failure() is None
    table = pq.read_table(out / "clips.parquet")
    assert table.schema.equals(CLIPS)
    assert table.to_pylist() == delivery.clips[:-1]
    assert (out / "labels.csv").read_bytes() == (tmp_path / "data" / "ingest" / "labels.csv").read_bytes()


def test_manifest_rows_are_accepted_or_quarantined_and_the_union_holds_every_step(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.clips[1]["labels"] = []
    verdict, out = run(delivery, tmp_path)
    quarantine = pq.read_table(out / "quarantine.parquet")
    assert quarantine.schema.equals(QUARANTINE)
    rows = [(row["video_id"], row["step"], row["reason"]) for row in quarantine.to_pylist()]
    assert rows == [
        (None, "ingest", "not_media"), ("mute", "extract", "no_audio"), ("bark_train_1", "validate", "no_label")
    ]  # fmt: skip
    in_manifest = sorted(ids(out) + [name for name, step, _ in rows if step != "ingest"])
    assert in_manifest == sorted(row["video_id"] for row in delivery.clips)
    assert verdict.counts["clips"] + verdict.counts["quarantined"] == verdict.counts["inputs"] == 12
    assert verdict.counts["unaccounted"] == 0


def test_static_pictures_are_rejected_only_on_request(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.facts[2]["frame_variance"] = 0.5
    verdict, out = run(delivery, tmp_path / "kept")
    assert "bark_train_2" in ids(out) and verdict.warned == ["frame_variance_enough"] and verdict.passed
    verdict, out = run(delivery, tmp_path / "rejected", allow_static_pictures=False)
    last = pq.read_table(out / "quarantine.parquet").to_pylist()[-1]
    assert (last["video_id"], last["reason"]) == ("bark_train_2", "static_picture")
    assert last["detail"] == "The picture stands still: variance 0.5, below 2."
    assert "bark_train_2" not in ids(out) and verdict.warned == []


def test_a_clip_with_two_faults_is_quarantined_once(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.clips[2]["labels"] = []
    delivery.facts[2]["frame_variance"] = 0.5
    verdict, out = run(delivery, tmp_path, allow_static_pictures=False)
    reasons = [row["reason"] for row in pq.read_table(out / "quarantine.parquet").to_pylist()]
    assert reasons == ["not_media", "no_audio", "no_label"]
    assert verdict.counts["unaccounted"] == 0


def test_index_names_the_shards_in_use_relative_to_itself(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.facts = [row for row in delivery.facts if "val" not in row["video_id"]]
    delivery.index["shards"][1]["clips"] = 0
    _, out = run(delivery, tmp_path)
    index = read_json(out / "index.json")
    assert read_json(out / "location.json") == {"format": 1, "root": "../shards", "files": {}}
    assert [shard["name"] for shard in index["shards"]] == ["train-00000", "test-00000"]
    shelf = Shelf.beside(out)
    assert shelf is not None and all(shelf.store.size(shelf.tar(shard["name"])) for shard in index["shards"])
    assert index["settings"] == delivery.index["settings"]
    assert index["counts"] == {"clips": 8, "train": 6, "val": 0, "test": 2, "quarantined": 2}


def test_a_closed_gate_still_writes_everything_and_says_why_in_one_line(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.clips[6]["group"] = delivery.clips[0]["group"]
    delivery.clips[0]["labels"] = ["woof"]
    verdict, out = run(delivery, tmp_path)
    page = out / "docs" / "index.html"
    assert not verdict.passed and verdict.failed == ["group_in_one_split", "labels_listed"]
    failure = verdict.failure()
    assert failure is not None and failure.startswith("validation failed: group_in_one_split, labels_listed (wanted: ")
    assert "; found: " in failure and failure.endswith(f"); {page} shows what was found") and "\n" not in failure
    assert {path.name for path in out.iterdir()} == {
        "clips.parquet", "labels.csv", "index.json", "location.json", "quarantine.parquet", "verdict.json", "docs"
    }  # fmt: skip
    written = read_json(out / "verdict.json")
    entry = next(item for item in written["expectations"] if item["name"] == "labels_listed")
    assert written["passed"] is False
    assert entry == {
        "name": "labels_listed",
        "table": "clips",
        "critical": True,
        "passed": False,
        "observed": "1 of 10 rows differ",
        "unexpected_count": 1,
        "examples": ["bark_train_0 (unlisted_labels 1)"],
        "sentence": "Every label of a clip is in labels.csv.",
    }
    assert "Validation failed" in page.read_text()


def test_a_lost_clip_closes_the_gate(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.extract_quarantine.clear()
    verdict, _ = run(delivery, tmp_path)
    assert {"books_balance", "clip_has_one_fate"} <= set(verdict.failed)
    assert verdict.counts["unaccounted"] == 1


def test_a_dataset_without_labels_passes_and_says_what_was_skipped(tmp_path: Path) -> None:
    verdict, out = run(DeliveryFolders().without_labels(), tmp_path)
    assert verdict.passed and verdict.counts["clips"] == 10
    skipped = read_json(out / "verdict.json")["skipped"]
    assert "label_coverage" in {item["name"] for item in skipped}
    assert "The dataset has no labels." in (out / "docs" / "index.html").read_text()


def test_a_delivery_of_which_nothing_is_left_is_judged_not_crashed_on(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.clips, delivery.facts, delivery.extract_quarantine, delivery.index["shards"] = [], [], [], []
    verdict, out = run(delivery, tmp_path)
    assert "train_not_empty" in verdict.failed
    assert ids(out) == []


def test_the_same_delivery_gives_the_same_bytes_in_every_file(tmp_path: Path) -> None:
    first, second = DeliveryFolders(), DeliveryFolders()
    for delivery in (first, second):
        delivery.clips[0]["split"] = "eval"
    _, here = run(first, tmp_path / "here")
    _, there = run(second, tmp_path / "there")
    assert len(tree(here)) == 13
    assert tree(here) == tree(there)


def test_a_second_run_replaces_the_first_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    run(DeliveryFolders(), tmp_path)
    (tmp_path / "data" / "validated" / "stale.txt").write_text("old")
    (tmp_path / "data" / "validated.partial").mkdir()
    _, out = run(DeliveryFolders(), tmp_path)
    assert not (out / "stale.txt").exists()
    assert sorted(os.listdir(tmp_path / "data")) == ["ingest", "shards", "validated"]


def test_documents_run_nothing_that_a_name_smuggles_in_and_need_no_network(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    markup = "<script>alert(1)</script>${x}"
    delivery.clips[0]["video_id"] = delivery.facts[0]["video_id"] = markup
    delivery.clips[1]["labels"] = [markup]
    delivery.clips[2]["split"] = markup
    delivery.labels.append("<b>moo</b>")
    delivery.extract_quarantine[0].update(path=markup, detail=markup)
    verdict, out = run(delivery, tmp_path)
    assert {"video_id_characters", "split_known", "labels_listed"} <= set(verdict.failed)
    pages = {path.name: path.read_text() for path in (out / "docs").iterdir()}
    assert len(pages) == 7
    for name, page in pages.items():
        assert "<script>alert" not in page and "<b>moo" not in page, name
    for name in ("index.html", "great_expectations_manifest.html"):
        assert "&lt;script&gt;alert" in pages[name]
    assert "http" not in pages["index.html"].replace('http-equiv="Content-Security-Policy"', "")


def test_verdict_is_plain_json_even_for_facts_that_are_no_numbers(tmp_path: Path) -> None:
    delivery = DeliveryFolders()
    delivery.facts[0]["level_dbfs"] = float("-inf")
    delivery.facts[1]["duration_s"] = float("nan")
    verdict, out = run(delivery, tmp_path)
    assert verdict.failed == ["facts_complete"] and verdict.warned == ["level_in_range"]
    assert json.loads((out / "verdict.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ingest/clips.parquet", None, "clips.parquet: no such file"),
        ("shards/facts.parquet", b"PAR1 and no more", "facts.parquet: not the table it should be"),
        ("shards/index.json", b"[]", "index.json: 'shards' and 'settings' are missing"),
        ("shards/index.json", b'{"settings": {}, "shards": [{"name": "a"}]}', "index.json, shard 0: 'bytes' is miss"),
        (
            "shards/index.json",
            b'{"settings": {}, "shards": [{"name": "../a", "bytes": 1, "sha256": "", "clips": 1}]}',
            "index.json, shard 0: 'name' is missing or malformed",
        ),
        ("ingest/labels.csv", b"name\nbark\n", "labels.csv, row 2: 'index' is missing"),
    ],
)
def test_a_missing_or_malformed_input_is_named_and_leaves_the_last_result_alone(
    file: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    ingest, shards = DeliveryFolders().write(tmp_path)
    out = tmp_path / "data" / "validated"
    out.mkdir()
    (out / "verdict.json").write_text("{}")
    broken = tmp_path / "data" / file
    broken.unlink() if content is None else broken.write_bytes(content)
    with pytest.raises(InputError, match=message.replace("'", ".")) as error:
        validate_dataset(ingest, shards, out, limits())
    assert "\n" not in str(error.value)
    assert [path.name for path in out.iterdir()] == ["verdict.json"]
