"""Whatever is renamed, swapped, regrouped or written over: a content that was tested on is not trained on after."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cavmae.dataset.schema import Row
from tests.dataset.made import blob, ingested, table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAVMAE_WORK", raising=False)


def put(names: Mapping[str, int]) -> None:
    """Make the files of the folder `v` those named, each with a content by its number."""
    for path in Path("v").glob("*/*.mp4"):
        path.unlink()
    for name, content in names.items():
        blob(Path("v") / name, content)


def seen(rows: list[Row]) -> dict[str, tuple[str, str]]:
    """Id and split of every content."""
    return {row["sha256"]: (row["video_id"], row["split"]) for row in rows}


FIRST = {f"dog/{number:02d}.mp4": number for number in range(20)}


def split(name: str, rows: list[Row]) -> str:
    return next(str(row["split"]) for row in rows if row["path"].endswith(name))


def test_files_that_are_numbered_anew_are_the_clips_they_were() -> None:
    put(FIRST)
    before, _ = ingested("v", Path("out"))
    put({f"dog/{number - 1:02d}.mp4": number for number in range(1, 20)})
    after, _ = ingested("v", Path("out"))
    assert len(after) == 19 and seen(after).items() <= seen(before).items()


def test_two_that_swap_their_names_are_the_clips_they_were() -> None:
    put(FIRST)
    before, _ = ingested("v", Path("out"))
    one, other = (next(name for name in FIRST if split(name, before) == which) for which in ("test", "train"))
    put(FIRST | {one: FIRST[other], other: FIRST[one]})
    after, _ = ingested("v", Path("out"))
    assert seen(after) == seen(before)


def test_a_film_never_seen_takes_the_place_of_one_that_is_gone_and_a_new_id_where_that_one_only_moved() -> None:
    put(FIRST)
    before, _ = ingested("v", Path("out"))
    put(FIRST | {"dog/03.mp4": 100, "dog/04.mp4": 101, "dog/moved.mp4": 4})
    after, _ = ingested("v", Path("out"))
    ids = {row["path"]: row["video_id"] for row in after}
    assert (ids["v/dog/03.mp4"], ids["v/dog/moved.mp4"]) == ("03", "04") and ids["v/dog/04.mp4"] not in ("03", "04")
    assert split("dog/moved.mp4", after) == split("dog/04.mp4", before) and split("dog/03.mp4", after) == split(
        "dog/03.mp4", before
    )


def test_what_was_tested_on_and_removed_comes_back_over_the_name_of_a_train_clip_and_is_not_trained_on() -> None:
    put(FIRST)
    before, _ = ingested("v", Path("out"))
    tested, trained = (next(name for name in FIRST if split(name, before) == which) for which in ("test", "train"))
    put({name: content for name, content in FIRST.items() if name != tested})
    ingested("v", Path("out"))
    put({name: content for name, content in FIRST.items() if name != tested} | {trained: FIRST[tested]})
    after, _ = ingested("v", Path("out"))
    assert split(trained, after) == "test"


def test_groups_that_a_list_names_later_keep_the_splits_of_their_clips_and_a_mixed_one_is_tested_on() -> None:
    put(FIRST)
    paths = sorted(Path("v").glob("*/*.mp4"))
    before, _ = ingested(table(Path("t.csv"), [(path, "dog") for path in paths]), Path("out"))
    table(Path("t.csv"), [(path, "dog", f"g{path.stem}") for path in paths], "path,labels,group")
    after, _ = ingested("t.csv", Path("out"))
    assert seen(after) == seen(before) and len({row["group"] for row in after}) == 20
    table(Path("t.csv"), [(path, "dog", f"h{number % 2}") for number, path in enumerate(paths)], "path,labels,group")
    mixed, _ = ingested("t.csv", Path("out"))
    assert all(row["split"] == "test" for row in mixed if seen(before)[row["sha256"]][1] == "test")
    assert (
        all(row["shard"].startswith(row["split"]) for row in mixed) and len({(row["group"], row["split"]) for row in mixed}) == 2
    )


def test_of_copies_the_one_that_has_not_changed_stays() -> None:
    put(FIRST)
    before, _ = ingested("v", Path("out"))
    put(FIRST | {"dog/00.mp4": 7})
    after, quarantine = ingested("v", Path("out"))
    assert [row["path"] for row in quarantine] == ["v/dog/00.mp4"]
    assert seen(after).items() <= seen(before).items()
