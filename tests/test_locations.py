"""Files and folders by location: on this machine, on a real S3 service, and as objects of a DVC remote."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError
from cavmae.locations import StoredFolder, local_copy
from cavmae.stores import open_store
from tests.pushed import push_file, push_folder, push_list
from tests.s3_service import S3Service

LARGEST = 1 << 20


@pytest.fixture(autouse=True)
def scratch(s3_service: S3Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is fetched lies; nothing may stay there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tree(folder: Path) -> Path:
    for name, text in (("a.txt", "aaa"), ("sub/b ö.txt", "bbb")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_file_keeps_its_name_and_nothing_stays_behind(place: str, scratch: Path) -> None:
    open_store(place).write("deep/weights.pth", b"123")
    with local_copy(f"{place}/deep/weights.pth", LARGEST) as path:
        assert path.name == "weights.pth" and path.read_bytes() == b"123"
    assert not list(scratch.iterdir()) and path.exists() == (not place.startswith("s3://")), "one's own file is left alone"


def test_an_object_of_a_dvc_remote_is_what_its_name_says_or_refused(place: str, scratch: Path) -> None:
    location = push_file(place, b"123")
    with local_copy(location, LARGEST) as path:
        assert path.name == "202cb962ac59075b964b07152d234b70" and path.read_bytes() == b"123"
    open_store(place).write(location[len(place) + 1 :], b"124")
    with pytest.raises(InputError, match="its content is not what its name says") as raised, local_copy(location, LARGEST):
        pass
    assert str(raised.value).startswith(location) and not list(scratch.iterdir())


def test_what_is_said_of_the_copy_names_the_location(s3_server: S3Service) -> None:
    location = f"s3://{s3_server.bucket()}/w.pth"
    open_store(location.rpartition("/")[0]).write("w.pth", b"")
    with pytest.raises(InputError, match=f"^{location}: is empty$"), local_copy(location, LARGEST) as path:
        raise InputError(f"{path}: is empty")


def test_what_is_not_there_too_large_or_no_file_is_refused_before_it_is_fetched(place: str, s3_server: S3Service) -> None:
    open_store(place).write("w.pth", b"12345")
    bucket = f"s3://{s3_server.bucket()}"
    absent = f"{place}/files/md5/20/2cb962ac59075b964b07152d234b70"
    for location, largest, words in (
        (absent, 9, "no such file"),
        (f"{bucket}/absent.pth", 9, "no such file"),
        (f"{bucket}/", 9, "give s3://bucket/key"),
        (f"{bucket}/a/../b", 9, "give s3://bucket/key"),
        (f"{absent}.dir", 9, "is a folder of a DVC remote; give the object of one file"),
        ("s3://t-no-such-bucket/w.pth", 9, "there is no such bucket"),
    ):
        with pytest.raises(InputError, match=words) as raised, local_copy(location, largest):
            pass
        assert location.split("/")[2] in str(raised.value)
    if place.startswith("s3://"):
        with pytest.raises(InputError, match=r"w\.pth: holds 5 bytes, more than the 4"), local_copy(f"{place}/w.pth", 4):
            pass


@pytest.mark.parametrize("kind", ["plain", "dvc"])
def test_files_are_found_in_a_folder(place: str, tmp_path: Path, kind: str) -> None:
    source = tree(tmp_path / "source")
    if kind == "dvc":
        location = push_folder(place, source)
    else:
        location = place
        for name in ("a.txt", "sub/b ö.txt"):
            open_store(place).put(name, source / name)
    folder = StoredFolder(location)
    for name, text in (("a.txt", "aaa"), ("sub/b ö.txt", "bbb")):
        found = folder.find(name)
        assert found is not None
        found.fetch(tmp_path / "copy", LARGEST)
        assert (tmp_path / "copy").read_text() == text
    assert folder.find("absent") is None


HASH = "0" * 32


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"md5": HASH, "relpath": "../../etc/passwd"}], "entry 0: '../../etc/passwd' is no name of a file"),
        ([{"md5": HASH, "relpath": "/etc/passwd"}], "entry 0: '/etc/passwd' is no name"),
        ([{"md5": HASH, "relpath": "a\nb"}], r"entry 0: 'a\\nb' is no name"),
        ([{"md5": "../../../../etc/passwd", "relpath": "a"}], "entry 0: 'md5' is missing or no MD5"),
        ([{"md5": HASH + ".dir", "relpath": "a"}], "entry 0: 'md5' is missing or no MD5"),
        ([{"md5": HASH, "relpath": "a"}, {"md5": HASH, "relpath": "a"}], "entry 1: 'a' stands there twice"),
        ([{"md5": HASH}], "entry 0: 'relpath' is missing"),
        ({"md5": HASH, "relpath": "a"}, "lists no files"),
        ([[[]]], "entry 0: 'relpath' is missing"),
    ],
)
def test_a_hostile_list_is_refused(place: str, rows: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        StoredFolder(push_list(place, rows))
    assert "\n" not in str(raised.value)


def test_a_damaged_list_and_a_file_in_place_of_a_folder_are_refused(place: str, tmp_path: Path) -> None:
    location = push_folder(place, tree(tmp_path / "source"))
    open_store(place).write(location[len(place) + 1 :], b"[]")
    with pytest.raises(InputError, match=r"\.dir: its content is not what its name says"):
        StoredFolder(location)
    with pytest.raises(InputError, match=r"is one file of a DVC remote; the object of a folder ends in \.dir"):
        StoredFolder(push_file(place, b"1"))


@pytest.mark.slow
def test_the_real_dvc_writes_such_objects(tmp_path: Path) -> None:
    repository, remote = tmp_path / "repository", tmp_path / "remote"
    tree(repository / "data")
    dvc = [sys.executable, "-m", "dvc"]
    for words in (
        ["git", "init", "-q"],
        [*dvc, "init", "-q"],
        [*dvc, "remote", "add", "-d", "there", str(remote)],
        [*dvc, "add", "-q", "data"],
        [*dvc, "push", "-q"],
    ):
        subprocess.run(words, cwd=repository, check=True, capture_output=True)
    (location,) = [str(path) for path in remote.rglob("*.dir")]
    ours = push_folder(str(tmp_path / "ours"), tree(tmp_path / "source"))
    assert location.removeprefix(str(remote)) == ours.removeprefix(str(tmp_path / "ours"))
    assert Path(location).read_bytes() == Path(ours).read_bytes()
    shutil.rmtree(repository)
    found = StoredFolder(location).find("sub/b ö.txt")
    assert found is not None
    found.fetch(tmp_path / "copy", LARGEST)
    assert (tmp_path / "copy").read_text() == "bbb"
