"""The model folder: what is written is read again, and what does not fit is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import CONFIG, WEIGHTS
from cavmae.models.folder import check_sample_rate, read_config, read_model, save_weights
from tests.training.tiny import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny().adapted, tmp_path / "model"))


def change(folder: Path, *path: str, value: object) -> None:
    document = json.loads((folder / CONFIG).read_text())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (folder / CONFIG).write_text(json.dumps(document))


def test_a_folder_gives_back_configuration_and_weights(folder: Path) -> None:
    config, model = read_model(folder)
    assert config.kind == "pretrained" and config.clip.frames == 4
    stored = load_file(folder / WEIGHTS)
    assert all(torch.equal(value, stored[key]) for key, value in model.state_dict().items())


def test_weights_are_loaded_strictly_and_every_problem_is_named(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    state["norm.scale"] = state.pop("norm.weight")
    state["norm.bias"] = torch.zeros(7)
    save_file(state, folder / WEIGHTS)
    with pytest.raises(InputError) as caught:
        read_model(folder)
    message = str(caught.value)
    assert "missing norm.weight" in message and "unexpected norm.scale" in message and "\n" not in message
    assert "norm.bias has shape (7,), the model wants (32,)" in message and str(folder / WEIGHTS) in message


def test_many_problems_are_counted_not_listed(folder: Path) -> None:
    save_file({"x": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(InputError, match=r"and \d+ more$"):
        read_model(folder)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100])
def test_damaged_weights_give_one_line(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match="not a readable safetensors file") as caught:
        read_model(folder)
    assert "\n" not in str(caught.value)


def test_a_wrong_configuration_names_its_key(folder: Path) -> None:
    change(folder, "architecture", "num_heads", value=0)
    with pytest.raises(InputError, match=r"key 'architecture\.num_heads'"):
        read_config(folder)
    change(folder, "architecture", "num_heads", value=5)
    with pytest.raises(InputError, match="embed_dim 32 is not divisible by num_heads 5"):
        read_model(folder)
    (folder / CONFIG).write_text("[]")
    with pytest.raises(InputError):
        read_config(folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_config(folder)


def test_a_missing_folder_or_file_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no such model folder"):
        read_model(folder / "nowhere")
    (folder / "audio_model.pth").write_bytes(b"")
    with pytest.raises(InputError, match=r"audio_model\.pth: is a file, not a model folder; `cavmae import .* makes one"):
        read_model(folder / "audio_model.pth")
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        read_model(folder)


def test_weights_can_be_read_by_whoever_reads_the_other_files(folder: Path) -> None:
    assert (folder / WEIGHTS).stat().st_mode == (folder / CONFIG).stat().st_mode


def test_a_data_set_of_another_sample_rate_is_refused(folder: Path) -> None:
    config = read_config(folder)
    check_sample_rate(config, {"sample_rate": 16000}, folder, Path("data"))
    with pytest.raises(InputError, match="is made for 16000 Hz, data holds 22050 Hz; run extract with sample_rate=16000"):
        check_sample_rate(config, {"sample_rate": 22050}, folder, Path("data"))


def test_a_full_disk_fails_in_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StepFailed, match="cannot be written"):
            save_weights(tmp_path / "w.safetensors", {"w": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
