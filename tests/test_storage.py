"""Files are whole or not there, the same value gives the same bytes, and no folder is replaced by accident."""

import hashlib
import os
from pathlib import Path

import pytest

from cavmae.errors import InputError
from cavmae.storage import (
    read_json,
    remove_leftovers,
    replace_folder,
    sha256_file,
    sha256_json,
    to_json,
    work_folder,
    write_atomic,
    write_json,
)


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with write_atomic(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), write_atomic(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "rest of a killed run").touch()
    with replace_folder(path) as partial:
        (partial / "a").touch()
    with pytest.raises(ZeroDivisionError), replace_folder(path) as partial:
        (partial / "b").touch()
        raise ZeroDivisionError
    assert [file.name for file in path.iterdir()] == ["a"]
    with replace_folder(path) as partial:
        (partial / "c").touch()
    assert [file.name for file in path.iterdir()] == ["c"] and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [".", "..", "../..", "here/..", "../here"])
def test_the_folder_one_works_in_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "work").touch()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="the current folder lies in it"), replace_folder(Path(name)):
        pass
    assert (tmp_path / "here" / "work").exists()


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_folder_takes_the_place_of_no_file_and_no_link_and_says_so_before_any_work(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(InputError, match=rf"{path}: is a file or a link"), replace_folder(path):
        pytest.fail("the work had begun")
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_are_removed_and_files_that_only_look_alike_are_not(tmp_path: Path) -> None:
    for name in ("a.tar.12.partial", "a.tar.13.partial", "a.partial", "a.x.partial", "a.tar"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, 12)
    assert sorted(os.listdir(tmp_path)) == ["a.partial", "a.tar", "a.tar.13.partial", "a.x.partial"]
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.partial", "a.tar", "a.x.partial"]
    remove_leftovers(tmp_path / "absent")


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    one, two = {"b": 1, "a": [1.5, None, "ü"]}, {"a": [1.5, None, "ü"], "b": 1}
    assert to_json(one) == to_json(two) and sha256_json(one) == sha256_json(two) != sha256_json({"b": 1})
    write_json(tmp_path / "a.json", one)
    assert read_json(tmp_path / "a.json") == one
    with pytest.raises(ValueError, match="JSON"):
        to_json(float("nan"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a":\n 1,}', "line 2: not valid JSON"),
        (b"\xff", "cannot be read"),
        (b"", "line 1: not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"1" * 10_000, "not valid JSON"),
    ],
)
def test_a_json_that_is_none_is_wrong_input_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=says) as raised:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(raised.value) and "\n" not in str(raised.value)


def test_a_json_that_is_not_there_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_work_folder_goes_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAVMAE_WORK", raising=False)
    assert work_folder("a", "b") == Path(".cavmae/a/b")
    monkeypatch.setenv("CAVMAE_WORK", "/w")
    assert work_folder("a") == Path("/w/a")


def test_what_the_disk_does_not_take_is_said_with_the_files_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    monkeypatch.setattr("cavmae.storage.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(OSError, match="No space") as raised, write_atomic(path) as partial:
        partial.write_text("one")
    assert raised.value.filename == str(path) and list(tmp_path.iterdir()) == []


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real = os.fsync, os.replace
    monkeypatch.setattr(
        "cavmae.storage.os.fsync", lambda handle: (done.append(os.readlink(f"/proc/self/fd/{handle}")), real[0](handle))
    )
    monkeypatch.setattr("cavmae.storage.os.replace", lambda old, new: (done.append(f"-> {new}"), real[1](old, new)))
    with write_atomic(tmp_path / "a") as partial:
        partial.touch()
    assert done == [str(partial), f"-> {tmp_path / 'a'}", str(tmp_path)]
    done.clear()
    with replace_folder(tmp_path / "model") as folder:
        (folder / "epochs").mkdir()
        (folder / "epochs" / "b").touch()
    assert set(done[:3]) == {str(folder / "epochs"), str(folder / "epochs" / "b"), str(folder)}
    assert done[3:] == [f"-> {tmp_path / 'model'}", str(tmp_path)]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "model", os.replace
    path.mkdir()
    (path / "old").touch()

    def replace(old: Path, new: Path) -> None:
        if old.name == "model.partial":
            raise OSError(28, os.strerror(28))
        real(old, new)

    monkeypatch.setattr("cavmae.storage.os.replace", replace)
    with pytest.raises(OSError, match="No space"), replace_folder(path) as folder:
        (folder / "new").touch()
    assert [file.name for file in path.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [path]


def test_leftovers_of_one_file_are_removed_alone(tmp_path: Path) -> None:
    for name in ("a.tsv.12.partial", "b.tsv.12.partial", "a.tsv.x.12.partial"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, name="a.tsv")
    assert sorted(os.listdir(tmp_path)) == ["a.tsv.x.12.partial", "b.tsv.12.partial"]
