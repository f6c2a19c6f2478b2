"""Files that torch wrote: read without running code, without unpacking bombs, and with one line for each that is bad."""

import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cavmae.models.safe_load import load_safely


def save(path: Path, value: Any = None, **settings: Any) -> Path:
    torch.manual_seed(0)
    torch.save({"w": torch.randn(400)} if value is None else value, path, **settings)
    return path


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_are_read_also_those_saved_from_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool, zipped: bool
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    path = save(tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    torch.manual_seed(0)
    assert torch.equal(load_safely(path, mapped)["w"], torch.randn(400))


class _Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_is_named_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "code-ran"
    with pytest.raises(ValueError, match=r"it holds the Python object \w+\.mkdir, not numbers alone"):
        load_safely(save(tmp_path / "zip.pth", {"w": _Code(mark)}))
    for number, protocol in enumerate((0, 2, 4)):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(pickle.dumps({"w": _Code(mark)}, protocol))
        with pytest.raises(ValueError):
            load_safely(path)
    assert not mark.exists()


def test_a_whole_model_is_refused_saying_what_to_save(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Python object torch\.nn\.modules\.linear\.Linear, .* save model\.state_dict\(\) instead"
    ):
        load_safely(save(tmp_path / "m.pth", nn.Linear(2, 2)))


def test_an_archive_that_would_unpack_is_not_unpacked(tmp_path: Path) -> None:
    whole, bomb = save(tmp_path / "whole.pth", {"w": torch.zeros(1_000_000)}), tmp_path / "bomb.pth"
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in archive.infolist():
            packed.writestr(member.filename, archive.read(member))
    assert bomb.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"packed in a way that torch\.save does not pack"):
        load_safely(bomb)


def test_one_wrong_byte_among_the_weights_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pth")
    content = bytearray(path.read_bytes())
    position = content.index(torch.load(path, weights_only=True)["w"].numpy().tobytes()) + 777
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"it is damaged, copy or download it again: wrong checksum of m/data/0"):
        load_safely(path)


def test_half_a_download_and_a_page_instead_of_one_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "m.pth")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="it is damaged or not complete, copy or download it again"):
        load_safely(path)
    path.write_text("\n<!DOCTYPE html><html>Dropbox</html>")
    with pytest.raises(ValueError, match="it is a web page"):
        load_safely(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(ValueError, match="it is a Git LFS pointer"):
        load_safely(path)


def test_other_files_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    with pytest.raises(ValueError, match="it is an archive of another kind"):
        load_safely(tmp_path / "a.npz")
    (tmp_path / "progress.pkl").write_bytes(pickle.dumps([[1, 2.0]]))
    with pytest.raises(ValueError, match=r"torch\.save did not write it"):
        load_safely(tmp_path / "progress.pkl")
    with pytest.raises(ValueError, match="Is a directory"):
        load_safely(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_safely(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_anywhere_gives_one_plain_line(tmp_path: Path, zipped: bool) -> None:
    whole = save(tmp_path / "m.pth", {"w": torch.ones(3)}, _use_new_zipfile_serialization=zipped).read_bytes()
    rng, refused = random.Random(0), 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / "bad.pth").write_bytes(content)
        try:
            load_safely(tmp_path / "bad.pth", mapped=True)
        except ValueError as error:
            refused += 1
            assert str(error) and str(error).isprintable(), "a terminal would take some names for commands"
    assert refused > 50
