"""The step `adapt`: sizes follow the data, statistics are measured, and checkpoints of all kinds give the same model."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cavmae.errors import InputError
from cavmae.models.folder import read_config, read_model
from cavmae.stores import open_store
from tests.models.test_mae_checkpoint import encoder_only, facebook_state, hugging_face_state
from tests.pushed import push_file
from tests.s3_service import S3Service
from tests.training.tiny import run_step, same_files, tiny

SIZES: dict[str, Any] = {
    "model__embed_dim": 16,
    "model__audio_patch_size": 8,
    "model__decoder_embed_dim": 8,
    "model__mlp_ratio": 4.0,
}


def adapted(out: Path, **changes: Any) -> Path:
    run_step("adapt", {"dataset": tiny().dataset, "model": out}, **changes)
    return out


def test_sizes_and_statistics_follow_the_data(tmp_path: Path) -> None:
    config = read_config(tiny().adapted)
    assert (config.architecture.img_size, config.architecture.audio_length) == (32, 96)
    assert (config.clip.frames, config.clip.frame_size, config.clip.sample_rate) == (4, 32, 16000)
    assert config.clip.window_s == pytest.approx(1.0, abs=0.05)
    assert -16 < config.normalisation.mean < 5 and 0.5 < config.normalisation.std < 10
    given = read_config(adapted(tmp_path / "given", mean=-5.081, std=4.4849, model__audio_length=64))
    assert (given.normalisation.mean, given.normalisation.std, given.architecture.audio_length) == (-5.081, 4.4849, 64)


def test_the_seed_decides_the_first_weights(tmp_path: Path) -> None:
    assert same_files(adapted(tmp_path / "same"), tiny().adapted) == []
    assert "model.safetensors" in same_files(adapted(tmp_path / "other", seed=1), tiny().adapted)


def test_checkpoints_of_all_kinds_give_the_same_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"model": facebook_state()}, tmp_path / "mae.pth")
    for version in (4, 5):
        (tmp_path / f"hf{version}").mkdir()
        save_file(hugging_face_state(version), tmp_path / f"hf{version}" / "model.safetensors")
    torch.save(encoder_only(facebook_state()), tmp_path / "timm.pth")
    states = {}
    for name in ("mae.pth", "hf4", "hf5", "timm.pth"):
        with caplog.at_level(logging.INFO):
            folder = adapted(tmp_path / f"model-{name}", checkpoint=tmp_path / name, **SIZES)
        states[name] = read_model(folder)[1].state_dict()
        assert json.loads((folder / "lineage.json").read_text())["checkpoint"]
    assert "taken from the checkpoint" in caplog.text and "left in the checkpoint 1: cls_token" in caplog.text
    assert "new in the model" in caplog.text
    for name in ("hf4", "hf5"):
        assert all(torch.equal(value, states[name][key]) for key, value in states["mae.pth"].items())
    for key, value in states["mae.pth"].items():
        is_decoder = key.startswith(("decoder_", "mask_token")) and not key.startswith("decoder_modality")
        if not is_decoder:
            assert torch.equal(value, states["timm.pth"][key]), key
    assert not torch.equal(states["mae.pth"]["decoder_embed.weight"], states["timm.pth"]["decoder_embed.weight"])


def test_a_checkpoint_on_s3_or_a_dvc_remote_gives_the_same_weights(tmp_path: Path, s3_server: S3Service) -> None:
    torch.save({"model": facebook_state()}, tmp_path / "mae.pth")
    save_file(hugging_face_state(5), tmp_path / "model.safetensors")
    here = adapted(tmp_path / "here", checkpoint=tmp_path / "mae.pth", **SIZES)
    place = f"s3://{s3_server.bucket()}/weights"
    for name in ("mae.pth", "model.safetensors"):
        open_store(place).put(name, tmp_path / name)
    pth, tensors = ((tmp_path / name).read_bytes() for name in ("mae.pth", "model.safetensors"))
    for number, (checkpoint, content) in enumerate(
        (
            (f"{place}/mae.pth", pth),
            (f"{place}/model.safetensors", tensors),
            (push_file(place, pth), pth),
            (push_file(str(tmp_path / "remote"), tensors), tensors),
        )
    ):
        there = adapted(tmp_path / f"there{number}", checkpoint=checkpoint, **SIZES)
        assert "model.safetensors" not in same_files(here, there)
        ((name, sha256),) = json.loads((there / "lineage.json").read_text())["checkpoint"].items()
        assert sha256 == hashlib.sha256(content).hexdigest() and "/" not in name
        assert name in checkpoint or name == hashlib.md5(content).hexdigest()
    torch.save([1], tmp_path / "list.pth")
    open_store(place).put("list.pth", tmp_path / "list.pth")
    for name, words in (("list.pth", "holds no state dict"), ("absent.pth", "no such file")):
        with pytest.raises(InputError, match=f"^{place}/{name}: {words}"):
            adapted(tmp_path / "m", checkpoint=f"{place}/{name}", **SIZES)
    assert not (tmp_path / "m").exists()


def test_a_checkpoint_of_another_size_is_refused_naming_file_key_and_remedy(tmp_path: Path) -> None:
    torch.save({"model": facebook_state()}, tmp_path / "mae.pth")
    with pytest.raises(InputError, match=r"mae\.pth: the checkpoint gives .* set the sizes under adapt\.model"):
        adapted(tmp_path / "m", checkpoint=tmp_path / "mae.pth")
    with pytest.raises(InputError, match=r"missing\.pth: no such file"):
        adapted(tmp_path / "m", checkpoint=tmp_path / "missing.pth")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model__num_heads": 5}, "embed_dim 32 is not divisible by num_heads 5"),
        ({"model__decoder_num_heads": 3}, "decoder_embed_dim 16 is not divisible by decoder_num_heads 3"),
        ({"model__patch_size": 7}, "img_size 32 is not divisible by the patch size 7"),
        ({"model__modality_specific_depth": 2}, "modality_specific_depth 2 of depth 2 leaves no shared block"),
        ({"model__embed_dim": 34}, "multiple of 4, not 34"),
    ],
)
def test_sizes_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        adapted(tmp_path / "m", **changes)
