"""Hashing of sources: remembered between runs, undisturbed by damage to the memory or to files."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from cavmae.dataset import hashing
from cavmae.dataset.hashing import HashJournal
from tests.dataset.made import blob


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [blob(tmp_path / f"{number}.mp4") for number in range(5)]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "work" / "hashes.jsonl"


def hash_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    real = hashing.sha256_file
    monkeypatch.setattr(hashing, "sha256_file", lambda path: (read.append(path), real(path))[1])
    return read


def test_hashes_are_those_of_the_content(files: list[Path], journal: Path) -> None:
    hashes = HashJournal(journal).hash_files([*files, *files], 2)
    assert hashes == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_second_run_reads_changed_files_only(files: list[Path], journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = HashJournal(journal).hash_files(files, 2)
    read = hash_reads(monkeypatch)
    blob(files[3], "a longer content than before, and another time")
    second = HashJournal(journal).hash_files(files, 2)
    assert read == [files[3]]
    assert {file: digest for file, digest in second.items() if file != files[3]} == {
        file: digest for file, digest in first.items() if file != files[3]
    }
    assert second[files[3]] == hashlib.sha256(files[3].read_bytes()).hexdigest()


def test_a_change_that_keeps_the_size_is_seen_by_its_time(files: list[Path], journal: Path) -> None:
    HashJournal(journal).hash_files(files, 1)
    files[0].write_bytes(bytes(reversed(files[0].read_bytes())))
    os.utime(files[0], ns=(1, 1))
    assert HashJournal(journal).hash_files(files, 1)[files[0]] == hashlib.sha256(files[0].read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", [b'["half a li', b"7\n[1]\nnull\n", b"\xff\xfe\0\n", b'["a", "b", "c"]\n'])
def test_damage_to_the_journal_costs_time_and_nothing_else(files: list[Path], journal: Path, damage: bytes) -> None:
    right = HashJournal(journal).hash_files(files[:2], 1)
    with journal.open("ab") as file:
        file.write(damage)
    assert HashJournal(journal).hash_files(files[:2], 1) == right
    HashJournal(journal).hash_files(files, 1)
    assert HashJournal(journal).hash_files(files[:2], 1) == right


def test_a_file_that_is_gone_gives_its_error_and_the_others_their_hash(files: list[Path], journal: Path) -> None:
    files[1].unlink()
    hashes = HashJournal(journal).hash_files(files, 2)
    assert isinstance(hashes[files[1]], FileNotFoundError)
    assert sum(isinstance(digest, str) for digest in hashes.values()) == 4


def test_the_journal_holds_whole_lines_in_the_order_of_the_files(files: list[Path], journal: Path) -> None:
    HashJournal(journal).hash_files(files, 4)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [bytes.fromhex(key.split()[0]).decode() for key, _ in lines] == [str(file) for file in files]
