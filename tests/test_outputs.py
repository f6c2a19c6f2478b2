"""What a command may replace: only what it wrote, apart from what it reads, where it can be written."""

import os
from pathlib import Path

import pytest

from cavmae.errors import InputError
from cavmae.outputs import Written, check_replaceable, check_replaceable_file, lineage_says
from cavmae.storage import write_json

OURS = Written("make", ("lineage.json", "a.txt"), lineage_says("make"), below=("b.txt",))


def earlier(folder: Path) -> Path:
    (folder / "one").mkdir(parents=True)
    write_json(folder / "lineage.json", {"step": "make"})
    for name in ("a.txt", "one/b.txt"):
        (folder / name).touch()
    return folder


def test_a_new_an_empty_and_an_earlier_folder_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "below", tmp_path / "empty", earlier(tmp_path / "out")):
        check_replaceable(out, (tmp_path / "input", None), OURS)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["notes.txt", "one/a.txt", "two/b.txt/c", "line\nbreak"])
def test_what_was_not_written_by_the_command_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    out = earlier(tmp_path / "out")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).touch()
    with pytest.raises(InputError) as raised:
        check_replaceable(out, (), OURS)
    shown = repr("two/b.txt" if name.startswith("two") else name)
    assert str(raised.value) == (
        f"{out}: would be replaced as a whole, and holds {shown}, which no earlier `cavmae make` wrote; "
        "name another folder with --out"
    )


def test_a_link_of_a_known_name_is_not_the_commands(tmp_path: Path) -> None:
    out = earlier(tmp_path / "out")
    (out / "a.txt").unlink()
    (out / "a.txt").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"holds 'a\.txt'"):
        check_replaceable(out, (), OURS)


@pytest.mark.parametrize("content", ['{"step": "other"}', "[]", "{", None])
def test_known_names_alone_do_not_make_it_the_commands(tmp_path: Path, content: str | None) -> None:
    out = earlier(tmp_path / "out")
    (out / "lineage.json").unlink()
    if content is not None:
        (out / "lineage.json").write_text(content)
    with pytest.raises(InputError, match="which no earlier `cavmae make` wrote"):
        check_replaceable(out, (), OURS)


def test_the_output_lies_apart_from_every_input_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "here")
    for place in (tmp_path / "data", Path("../data"), tmp_path / "alias"):
        for out, told in (
            (tmp_path / "data" / "set", "is an input"),
            (Path("../here/../data/set/new"), "lies in"),
            (tmp_path / "data", "lies in it"),
        ):
            with pytest.raises(InputError, match=told):
                check_replaceable(out, (None, place / "set"), OURS, "--gallery")
    with pytest.raises(InputError, match="name another place with --metrics"):
        check_replaceable_file(Path("../data/set/a.json"), (tmp_path / "alias" / "set",), "make", Path.is_file, "--metrics")


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked" / "out").mkdir(parents=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    access = os.access  # root may write everywhere, so that the mode of a folder proves nothing
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))
    for place in ("locked", "dangling"):
        told = rf"out: cannot be made, {tmp_path / place} is not a folder that can be written to"
        with pytest.raises(InputError, match=told):
            check_replaceable(tmp_path / place / "out", (), OURS)
    with pytest.raises(InputError, match="locked is not a folder that can be written to"):
        check_replaceable_file(tmp_path / "locked" / "a.npz", (), "make", Path.is_file)
