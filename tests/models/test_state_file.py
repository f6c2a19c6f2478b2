"""State dicts in files: found where they stand, and refused where they are none or promise what is not there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cavmae.errors import InputError
from cavmae.models.state_file import read_state


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def test_a_state_dict_is_found_bare_wrapped_and_as_safetensors(tmp_path: Path) -> None:
    state = {"w": torch.ones(2)}
    for value in (state, {"model": state}, {"state_dict": state, "epoch": 1}, {"model": {"state_dict": state}}):
        assert torch.equal(read_state(saved(tmp_path / "m.pth", value))["w"], state["w"])
    save_file(state, tmp_path / "m.safetensors")
    assert torch.equal(read_state(tmp_path / "m.safetensors")["w"], state["w"])
    # as a DVC remote keeps it: by its hash, without an ending
    (tmp_path / "m.safetensors").rename(tmp_path / "d41d8cd98f00b204e9800998ecf8427e")
    assert torch.equal(read_state(tmp_path / "d41d8cd98f00b204e9800998ecf8427e")["w"], state["w"])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"state": {}, "param_groups": []}, "is the state of an optimizer, not of a model; give the model's file"),
        (
            {"net": {"w": torch.ones(1)}, "epoch": 3},
            r"holds no state dict \(names and tensors\), but 'net' \(dict\), 'epoch' \(int\)$",
        ),
        ({1: torch.ones(1)}, "but the key 1$"),
        ({}, "but nothing$"),
        ([torch.ones(1)], "but list$"),
        ({"w": torch.ones(2, device="meta")}, "w is no plain tensor with its numbers in the file"),
        ({"w": torch.ones(2, 2).to_sparse()}, "w is no plain tensor"),
        ({"w": torch.zeros(1).expand(10**9, 10**6)}, "promise more numbers than the file holds"),
        ({"a\x1b[31m\n": torch.ones(1)}, r"'a\\x1b\[31m\\n' is not the name of a parameter"),
        ({"a" * 300: torch.ones(1)}, "is not the name of a parameter"),
    ],
)
def test_what_is_no_state_dict_is_told_in_one_line(tmp_path: Path, value: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_state(saved(tmp_path / "m.pth", value))
    assert str(tmp_path / "m.pth") in str(caught.value) and str(caught.value).isprintable()


def test_a_missing_an_empty_a_special_and_a_giant_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.pth: no such file"):
        read_state(tmp_path / "m.pth")
    with pytest.raises(InputError, match="is not a file"):
        read_state(Path("/dev/zero"))
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(InputError, match="holds no tensors"):
        read_state(tmp_path / "empty.safetensors")
    with (tmp_path / "giant.pth").open("wb") as file:
        file.truncate(40 << 30)  # takes no room on disk
    with pytest.raises(InputError, match="holds 43 GB; no checkpoint of such a model is that large"):
        read_state(tmp_path / "giant.pth")
    (tmp_path / "m.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        read_state(tmp_path / "m.safetensors")
