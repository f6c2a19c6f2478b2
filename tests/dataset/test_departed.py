"""Clips that go and come back: the split they had is the split they get."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cavmae.dataset.departed import DEPARTED, Departed
from cavmae.dataset.schema import Row
from cavmae.errors import InputError
from tests.dataset.made import blob, ingested


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAVMAE_WORK", raising=False)
    for number in range(40):
        blob(Path(f"videos/dog/{number}.mp4"))
    yield Path("videos")


def split_of(rows: list[Row]) -> dict[str, str]:
    return {Path(row["path"]).name: row["split"] for row in rows}


def taken_away(videos: Path, names: list[str]) -> None:
    for name in names:
        Path("away").mkdir(exist_ok=True)
        (videos / "dog" / name).rename(Path("away") / name)


def test_a_clip_that_comes_back_has_the_split_it_had_wherever_it_lies_now(videos: Path) -> None:
    first = split_of(ingested(videos, Path("out"))[0])
    names = [f"{number}.mp4" for number in range(20)]
    assert len({first[name] for name in names}) == 3
    taken_away(videos, names)
    others = [blob(videos / "dog" / f"new{number}.mp4") for number in range(20)]  # take the places that are free
    second = split_of(ingested(videos, Path("out"))[0])
    assert {name: second[name] for name in second if name in first} == {name: first[name] for name in second if name in first}
    ingested(videos, Path("out"))  # that there was another run between does not matter
    for number, name in enumerate(names):
        back = videos / ("dog" if number % 2 else "cat") / (name if number % 2 else f"again {name}")
        back.parent.mkdir(exist_ok=True)
        (Path("away") / name).rename(back)
    third = split_of(ingested(videos, Path("out"))[0])
    assert {name: third.get(name, third.get(f"again {name}")) for name in first} == first
    assert {name: third[name] for name in second} == second
    assert len(third) == 40 + len(others)


def test_a_group_that_comes_back_with_other_clips_has_its_split(videos: Path) -> None:
    rows = [f"{path},dog,{path.stem[0]}" for path in sorted(videos.glob("dog/*.mp4"))]
    table = Path("t.csv")
    table.write_text("\n".join(["path,labels,group", *rows]))
    first = {row["group"]: row["split"] for row in ingested(table, Path("out"))[0]}
    gone = next(group for group in sorted(first) if first[group] == "test")
    table.write_text("\n".join(["path,labels,group", *(row for row in rows if not row.endswith(f",{gone}"))]))
    assert gone not in {row["group"] for row in ingested(table, Path("out"))[0]}
    other = blob(Path("videos/dog/other.mp4"))
    table.write_text("\n".join(["path,labels,group", *rows[:1], f"{other},dog,{gone}"]))
    assert {row["group"]: row["split"] for row in ingested(table, Path("out"))[0]}[gone] == "test"


@pytest.mark.parametrize("memory", [None, "memory"])
def test_runs_in_places_of_their_own_remember_too(videos: Path, memory: str | None) -> None:
    settings = [f"memory={memory}"] if memory else []
    first = split_of(ingested(videos, Path("out"), *settings)[0])
    names = [name for name in first if first[name] != "train"]
    taken_away(videos, names)
    ingested(videos, Path("out"), *settings)
    if memory:
        shutil.rmtree("out")
    for number in range(20):
        blob(videos / "dog" / f"new{number}.mp4")
    ingested(videos, Path("out"), *settings)
    if memory:
        shutil.rmtree("out")
    for name in names:
        (Path("away") / name).rename(videos / "dog" / name)
    last = split_of(ingested(videos, Path("out"), *settings)[0])
    assert {name: last[name] for name in first} == first


def test_only_hashes_of_what_is_gone_are_kept_and_nothing_where_nothing_is(videos: Path) -> None:
    ingested(videos, Path("out"))
    assert not (Path("out") / DEPARTED).exists()
    taken_away(videos, ["7.mp4"])
    ingested(videos, Path("out"))
    content = (Path("out") / DEPARTED).read_bytes()
    assert b"7.mp4" not in content and b"videos" not in content


def test_another_source_starts_afresh(videos: Path) -> None:
    ingested(videos, Path("out"))
    taken_away(videos, ["7.mp4"])
    ingested(videos, Path("out"))
    blob(Path("others/dog/1.mp4"))
    ingested("others", Path("out"))
    assert not (Path("out") / DEPARTED).exists()


def test_a_file_that_is_no_memory_is_named(tmp_path: Path) -> None:
    (tmp_path / DEPARTED).write_text("no table")
    with pytest.raises(InputError, match=r"departed\.parquet: not a readable Parquet file"):
        Departed.read(tmp_path / DEPARTED)
