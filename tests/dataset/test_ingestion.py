"""From candidates to manifest rows: nothing lost, nothing twice, and old clips as they were."""

import os
from collections import Counter
from pathlib import Path

import pytest

from cavmae.dataset.departed import Departed
from cavmae.dataset.ingestion import Window, build_manifest, cut_windows, reject_at_sight, split_unprintable
from cavmae.dataset.placement import Placement
from cavmae.dataset.schema import Row
from cavmae.dataset.sources import Candidate
from cavmae.storage import sha256_file
from tests.dataset.made import blob, reasons, tiny_film
from tests.media.render import film

PLACEMENT = Placement(seed=0, val_share=0.2, test_share=0.2, shard_clips=4)


def candidate(path: Path, **more: object) -> Candidate:
    settings = {"name": path.stem, "labels": ("dog",), "where": f"t.csv, row {path.stem}", **more}
    return Candidate(path=path, **settings)  # type: ignore[arg-type]


def manifest(
    candidates: list[Candidate], previous: list[Row] | None = None, departed: Departed | None = None
) -> tuple[list[Row], list[Row]]:
    cut = cut_windows(candidates, Window(10.0, None))
    hashes = {one.path: sha256_file(one.path) for one in cut}
    return build_manifest(cut, hashes, previous or [], departed or Departed(), PLACEMENT, "src")


def many(folder: Path, count: int, label: str = "dog") -> list[Candidate]:
    return [candidate(blob(folder / f"{label}{number}.mp4"), labels=(label,)) for number in range(count)]


def test_each_input_is_accepted_or_has_its_reason(tmp_path: Path) -> None:
    good = blob(tmp_path / "good.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "fifo.mp4")
    bad = ["empty", "page", "folder", "dangling", "loop", "fifo", "absent", "n" * 300, "good.mp4/below", "nul\0"]
    accepted, quarantine = reject_at_sight([candidate(good), *(candidate(tmp_path / f"{name}.mp4") for name in bad)])
    assert [one.path for one in accepted] == [good]
    assert list(reasons(quarantine).values()) == [
        "empty_file", "not_media", "not_media", "missing_file", "missing_file", "not_media",
        "missing_file", "missing_file", "missing_file", "missing_file",
    ]  # fmt: skip
    assert "t.csv, row absent" in next(row["detail"] for row in quarantine if row["path"].endswith("absent.mp4"))


def test_a_name_that_is_no_text_is_rejected_with_its_bytes_shown(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mp4"))
    accepted, quarantine = split_unprintable([candidate(odd), candidate(tmp_path / "ä.mp4")])
    assert [one.name for one in accepted] == ["ä"]
    assert reasons(quarantine) == {"b\\xff.mp4": "bad_file_name"}


def test_a_long_file_gives_a_clip_every_hop_and_no_short_rest(tmp_path: Path) -> None:
    file = film(tmp_path / "a.mp4", seconds=4.2, fps=5)
    clips = cut_windows([candidate(file)], Window(2.0, 1.0))
    assert [(clip.name, clip.start_s, clip.end_s) for clip in clips] == [
        ("a_000000", 0.0, 2.0), ("a_001000", 1.0, 3.0), ("a_002000", 2.0, 4.0),
    ]  # fmt: skip


def test_a_file_no_longer_than_the_window_gives_one_clip_under_its_own_name(tmp_path: Path) -> None:
    (clip,) = cut_windows([candidate(tiny_film(tmp_path / "a.mp4"))], Window(2.0, 1.0))
    assert (clip.name, clip.start_s, clip.end_s) == ("a", 0.0, 2.0)


def test_a_hop_leaves_files_that_cannot_be_opened_to_extract(tmp_path: Path) -> None:
    (clip,) = cut_windows([candidate(blob(tmp_path / "noise.mp4"))], Window(2.0, 1.0))
    assert (clip.start_s, clip.end_s) == (0.0, 2.0)


@pytest.mark.parametrize("hop", [None, 0.1])
@pytest.mark.parametrize(("given", "expected"), [((1.0, 3.0), (1.0, 3.0)), ((1.0, None), (1.0, 3.0)), ((None, 0.5), (0.0, 0.5))])
def test_a_window_that_the_source_gives_is_kept(
    tmp_path: Path, hop: float | None, given: tuple[float | None, float | None], expected: tuple[float, float]
) -> None:
    file = film(tmp_path / "a.mp4", seconds=4, fps=5)
    (clip,) = cut_windows([candidate(file, start_s=given[0], end_s=given[1])], Window(2.0, hop))
    assert (clip.start_s, clip.end_s) == expected


def test_copies_are_quarantined_and_name_the_one_that_is_kept(tmp_path: Path) -> None:
    files = [blob(tmp_path / f"{name}.mp4", "same") for name in "ab"] + [blob(tmp_path / "c.mp4", "other")]
    rows, quarantine = manifest([candidate(file) for file in files])
    assert sorted(row["name"] for row in rows) == ["a", "c"]
    assert reasons(quarantine) == {"b.mp4": "duplicate"} and str(files[0]) in quarantine[0]["detail"]


def test_one_clip_in_two_rows_with_two_labels_says_how_to_write_it(tmp_path: Path) -> None:
    file = blob(tmp_path / "a.mp4")
    rows, quarantine = manifest([candidate(file, where="t.csv, row 2"), candidate(file, where="t.csv, row 3", labels=("cat",))])
    assert [row["labels"] for row in rows] == [["dog"]]
    assert "t.csv, row 2" in quarantine[0]["detail"] and "labels together" in quarantine[0]["detail"]


def test_windows_of_one_file_are_clips_of_one_group_in_one_split(tmp_path: Path) -> None:
    file = blob(tmp_path / "a.mp4")
    windows = [candidate(file, start_s=float(at), end_s=float(at + length)) for at in range(6) for length in (1, 2, 3, 4)]
    rows, _ = manifest([*windows, *many(tmp_path, 10)])
    of_file = [row for row in rows if row["path"] == str(file)]
    assert len(of_file) == 24 == len({row["video_id"] for row in of_file})
    assert len({row["split"] for row in of_file}) == len({row["group"] for row in of_file}) == 1


def test_copies_of_a_file_that_are_cut_elsewhere_are_of_its_group(tmp_path: Path) -> None:
    copies = [candidate(blob(tmp_path / f"{at}.mp4", "same"), start_s=float(at)) for at in range(10)]
    rows, _ = manifest(copies)
    assert len(rows) == 10 and len({row["split"] for row in rows}) == 1


def test_a_group_never_crosses_splits(tmp_path: Path) -> None:
    files = [candidate(blob(tmp_path / f"{number}.mp4"), group=f"g{number % 7}") for number in range(40)]
    rows, _ = manifest(files)
    assert len({(row["group"], row["split"]) for row in rows}) == 7
    assert len({row["split"] for row in rows}) == 3


def test_shards_hold_clips_of_one_split_and_no_more_than_asked_for(tmp_path: Path) -> None:
    rows, _ = manifest(many(tmp_path, 30))
    sizes = Counter(row["shard"] for row in rows)
    assert max(sizes.values()) == PLACEMENT.shard_clips
    assert all(row["shard"].startswith(f"{row['split']}-") for row in rows)
    assert rows == sorted(rows, key=lambda row: (row["shard"], row["video_id"]))


def test_added_data_changes_no_row_and_gets_shards_of_its_own(tmp_path: Path) -> None:
    before, _ = manifest(many(tmp_path / "b", 11))
    after, _ = manifest([*many(tmp_path / "a", 9), *many(tmp_path / "b", 11), *many(tmp_path / "c", 5, "cat")], before)
    kept = {row["video_id"]: row for row in after}
    assert all(kept[row["video_id"]] == row for row in before)
    old_shards = {row["shard"] for row in before}
    assert not old_shards & {row["shard"] for row in after if row["video_id"] not in {old["video_id"] for old in before}}
    assert len({row["video_id"] for row in after}) == 25


def test_deleted_files_leave_their_shard_and_move_no_other_clip(tmp_path: Path) -> None:
    files = many(tmp_path, 12)
    before, _ = manifest(files)
    after, _ = manifest(files[1:], before)
    assert after == [row for row in before if row["path"] != str(files[0].path)]


def test_a_file_that_was_moved_is_the_same_clip_with_another_label(tmp_path: Path) -> None:
    before, _ = manifest([*many(tmp_path / "dog", 20), *many(tmp_path / "cat", 20, "cat")])
    chosen = [next(row for row in before if row["split"] == split) for split in ("train", "val", "test")]
    for row in chosen:
        (tmp_path / "ant").mkdir(exist_ok=True)
        Path(row["path"]).rename(tmp_path / "ant" / f"other {Path(row['path']).name}")
    files = sorted(tmp_path.rglob("*.mp4"))
    after, quarantine = manifest([candidate(path, labels=(path.parent.name,)) for path in files], before)
    now = {row["video_id"]: row for row in after}
    assert not quarantine and now.keys() == {row["video_id"] for row in before}
    for row in before:
        new = {"path": now[row["video_id"]]["path"], "name": now[row["video_id"]]["name"], "labels": ["ant"]}
        assert now[row["video_id"]] == (row | new if row in chosen else row)
    # and once more: it is known under its new path
    assert manifest([candidate(path, labels=(path.parent.name,)) for path in files], after)[0] == after


def test_a_file_that_was_moved_and_is_cut_otherwise_stays_in_its_split(tmp_path: Path) -> None:
    before, _ = manifest(many(tmp_path, 20))
    for row in before:
        Path(row["path"]).rename(tmp_path / f"new-{Path(row['path']).name}")
    halves = [candidate(path, name=path.stem, start_s=0.0, end_s=5.0) for path in sorted(tmp_path.glob("new-*"))]
    splits = {row["sha256"]: row["split"] for row in before}
    assert all(row["split"] == splits[row["sha256"]] for row in manifest(halves, before)[0])


def test_a_copy_of_a_clip_that_is_still_there_is_no_move(tmp_path: Path) -> None:
    files = many(tmp_path, 6)
    before, _ = manifest(files)
    (tmp_path / "copy.mp4").write_bytes(files[0].path.read_bytes())
    after, quarantine = manifest([candidate(tmp_path / "copy.mp4"), *files], before)
    assert after == before and reasons(quarantine) == {"copy.mp4": "duplicate"}


def test_a_source_that_moves_a_group_to_another_split_moves_its_clips_to_other_shards(tmp_path: Path) -> None:
    files = [candidate(blob(tmp_path / f"{number}.mp4"), group="g") for number in range(2)]
    before, _ = manifest(files)
    new = candidate(blob(tmp_path / "new.mp4"), group="g", split="test")
    after, _ = manifest([*files, new], before)
    assert {row["split"] for row in after} == {"test"} == {row["shard"].partition("-")[0] for row in after}


def test_rows_carry_hash_size_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = blob(tmp_path / "d" / "a.mp4")
    (row,) = manifest([candidate(file)])[0]
    assert (row["path"], row["bytes"], row["sha256"]) == ("d/a.mp4", file.stat().st_size, sha256_file(file))


def test_a_file_that_cannot_be_read_is_quarantined(tmp_path: Path) -> None:
    files = many(tmp_path, 2)
    hashes: dict[Path, str | OSError] = {files[0].path: "a" * 64, files[1].path: OSError(5, "Input/output error")}
    rows, quarantine = build_manifest(cut_windows(files, Window(10, None)), hashes, [], Departed(), PLACEMENT, "src")
    assert len(rows) == 1 and reasons(quarantine) == {"dog1.mp4": "unreadable_file"}
