"""A folder as source: whatever files are called and wherever links lead, each file is seen once."""

import os
from pathlib import Path

import pytest

from cavmae.dataset.sources import read_source
from cavmae.errors import InputError
from tests.dataset.made import blob


def seen(folder: Path) -> dict[str, tuple[str, ...]]:
    return {str(candidate.path.relative_to(folder)): candidate.labels for candidate in read_source(str(folder))}


def test_the_first_level_of_folders_gives_the_labels_whatever_lies_below(tmp_path: Path) -> None:
    for name in ("dog/a.mp4", "dog/deep/er/b.mp4", "cat/a.mp4", "plain.mp4"):
        blob(tmp_path / name)
    assert seen(tmp_path) == {"cat/a.mp4": ("cat",), "dog/a.mp4": ("dog",), "dog/deep/er/b.mp4": ("dog",), "plain.mp4": ()}


def test_odd_names_are_files_like_others(tmp_path: Path) -> None:
    names = ["-rf.mp4", "sp ace.mp4", "ümläut ♫.mp4", "new\nline.mp4", "a;b,c.mp4", "$(x).mp4", "CAPS.MP4"]
    for name in names:
        blob(tmp_path / "-label" / name)
    assert seen(tmp_path) == {f"-label/{name}": ("-label",) for name in sorted(names, key=os.fsencode)}


def test_blanks_around_a_folders_name_are_not_part_of_the_label(tmp_path: Path) -> None:
    blob(tmp_path / " dog " / "a.mp4")
    blob(tmp_path / "  " / "b.mp4")
    assert sorted(seen(tmp_path).values()) == [(), ("dog",)]


def test_a_name_that_is_no_text_is_listed_and_does_not_stop_the_others(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mp4")
    blob(Path(odd))
    blob(tmp_path / "a.mp4")
    assert [str(candidate.path) for candidate in read_source(str(tmp_path))] == [str(tmp_path / "a.mp4"), odd]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.mp4", ".DS_Store", ".git/b.mp4", "dog/.c.mp4"):
        blob(tmp_path / name)
    assert set(seen(tmp_path)) == {"a.mp4"}


def test_linked_folders_are_not_followed_so_that_no_loop_is_endless_and_the_user_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blob(tmp_path / "dog" / "a.mp4")
    (tmp_path / "dog" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "dog", target_is_directory=True)
    assert set(seen(tmp_path)) == {"dog/a.mp4"}
    assert "2 linked folders are not followed" in caplog.text


def test_the_source_itself_may_be_a_link_and_so_may_files(tmp_path: Path) -> None:
    blob(tmp_path / "real" / "a.mp4")
    (tmp_path / "real" / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "link").symlink_to("real")
    assert set(seen(tmp_path / "link")) == {"a.mp4", "b.mp4"}


def test_a_folder_without_files_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        read_source(str(tmp_path))


@pytest.mark.parametrize(("name", "says"), [("none", "no such file or folder"), ("a.mp4", "not a single file of another kind")])
def test_a_source_that_is_none_names_what_may_be_given(tmp_path: Path, name: str, says: str) -> None:
    blob(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=says):
        read_source(str(tmp_path / name))
