"""Vision-MAE checkpoints of every kind that people have: all become the same weights, and bad ones give one line."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models import CAVMAE
from cavmae.models.adapt import adapt
from cavmae.models.mae_checkpoint import read_mae_checkpoint

DIM, DECODER, DEPTH, PATCHES = 16, 8, 2, 16
ENCODER_NAMES = ("cls_token", "pos_embed", "patch_embed", "blocks", "norm")


def facebook_state() -> dict[str, Tensor]:
    """A whole MAE under facebookresearch's names: 32 px, patches of 8."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, DIM),
        "pos_embed": (1, PATCHES + 1, DIM),
        "patch_embed.proj.weight": (DIM, 3, 8, 8),
        "patch_embed.proj.bias": (DIM,),
        "norm.weight": (DIM,),
        "norm.bias": (DIM,),
        "mask_token": (1, 1, DECODER),
        "decoder_embed.weight": (DECODER, DIM),
        "decoder_embed.bias": (DECODER,),
        "decoder_pos_embed": (1, PATCHES + 1, DECODER),
        "decoder_norm.weight": (DECODER,),
        "decoder_norm.bias": (DECODER,),
        "decoder_pred.weight": (8 * 8 * 3, DECODER),
        "decoder_pred.bias": (8 * 8 * 3,),
    }
    for prefix, dim, count in (("blocks", DIM, DEPTH), ("decoder_blocks", DECODER, 1)):
        for layer in range(count):
            for name, shape in {
                "norm1": (dim,),
                "norm2": (dim,),
                "attn.qkv": (3 * dim, dim),
                "attn.proj": (dim, dim),
                "mlp.fc1": (4 * dim, dim),
                "mlp.fc2": (dim, 4 * dim),
            }.items():
                shapes[f"{prefix}.{layer}.{name}.weight"] = shape
                shapes[f"{prefix}.{layer}.{name}.bias"] = shape[:1]
    return {key: torch.randn(shape) for key, shape in shapes.items()}


# as transformers 4.57 and 5.23 write ViTMAEForPreTraining
_PARTS = {
    4: {
        "layers": ("vit.encoder.layer", "decoder.decoder_layers"),
        "qkv": tuple(f"attention.attention.{name}" for name in ("query", "key", "value")),
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    },
    5: {
        "layers": ("vit.layers", "decoder.decoder_layers"),
        "qkv": tuple(f"attention.{name}" for name in ("q_proj", "k_proj", "v_proj")),
        "attn.proj": "attention.o_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    },
}
_SINGLE = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj.weight": "vit.embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "vit.embeddings.patch_embeddings.projection.bias",
    "norm.weight": "vit.layernorm.weight",
    "norm.bias": "vit.layernorm.bias",
}


def hugging_face_state(version: int) -> dict[str, Tensor]:
    names: dict[str, Any] = _PARTS[version] | {"norm1": "layernorm_before", "norm2": "layernorm_after"}
    state = {}
    for key, value in facebook_state().items():
        parts = key.split(".")
        if parts[0] in ("blocks", "decoder_blocks"):
            layers = names["layers"][parts[0] == "decoder_blocks"]
            part, kind = ".".join(parts[2:-1]), parts[-1]
            if part == "attn.qkv":
                for name, third in zip(names["qkv"], value.chunk(3), strict=True):
                    state[f"{layers}.{parts[1]}.{name}.{kind}"] = third.clone()
            else:
                state[f"{layers}.{parts[1]}.{names[part]}.{kind}"] = value
        else:
            state[_SINGLE.get(key, f"decoder.{key}")] = value
    return state


def same(got: dict[str, Tensor], want: dict[str, Tensor]) -> bool:
    return set(got) == set(want) and all(torch.equal(got[key], want[key]) for key in want)


def encoder_only(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.split(".")[0] in ENCODER_NAMES}


def small_model() -> CAVMAE:
    sizes: dict[str, Any] = {"img_size": 32, "audio_length": 64, "patch_size": 8, "embed_dim": DIM, "num_heads": 2}
    return CAVMAE(
        **sizes, decoder_embed_dim=DECODER, decoder_depth=1, decoder_num_heads=2, depth=DEPTH, modality_specific_depth=1
    )


def test_a_facebookresearch_file_is_read_with_decoder_and_with_its_command_line_beside_it(tmp_path: Path) -> None:
    state = facebook_state()
    torch.save({"model": state, "epoch": 7, "args": argparse.Namespace(lr=1e-3, model="mae_vit")}, tmp_path / "full.pth")
    assert same(read_mae_checkpoint(tmp_path / "full.pth"), state)


def test_names_with_the_prefix_of_parallel_training_are_read(tmp_path: Path) -> None:
    state = facebook_state()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "parallel.pth")
    assert same(read_mae_checkpoint(tmp_path / "parallel.pth"), state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_timm_encoder_is_read_and_the_decoder_stays_as_drawn(tmp_path: Path, suffix: str) -> None:
    state, path = encoder_only(facebook_state()), tmp_path / f"vit_tiny.mae{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    assert same(read_mae_checkpoint(path), state)
    report = adapt(small_model(), read_mae_checkpoint(path))
    assert report.left == ["cls_token"]
    assert {"mask_token", "decoder_embed.weight", "decoder_pred_a.weight"} <= set(report.new)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_hugging_face_folder_of_either_naming_gives_the_same_weights(tmp_path: Path, version: int, file: str) -> None:
    state = hugging_face_state(version)
    if file.endswith(".bin"):
        torch.save(state, tmp_path / file)
    else:
        save_file(state, tmp_path / file)
    assert same(read_mae_checkpoint(tmp_path), facebook_state())


@pytest.mark.parametrize("version", [4, 5])
def test_a_hugging_face_encoder_without_its_prefix_gives_the_same_weights(tmp_path: Path, version: int) -> None:
    bare = {key.removeprefix("vit."): value for key, value in hugging_face_state(version).items() if key.startswith("vit.")}
    save_file(bare, tmp_path / "model.safetensors")
    assert same(read_mae_checkpoint(tmp_path), encoder_only(facebook_state()))


def test_an_incomplete_projection_is_named(tmp_path: Path) -> None:
    state = hugging_face_state(5)
    del state["vit.layers.1.attention.k_proj.bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"blocks\.1 has no complete query, key and value"):
        read_mae_checkpoint(tmp_path)


class _Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "code-ran"
    torch.save({"model": _Code(mark)}, tmp_path / "zip.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"model": _Code(mark)}))
    for name in ("zip.pth", "old.pth"):
        with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
            read_mae_checkpoint(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    # the last two end in IndexError and AttributeError inside torch's own reader
    [b"", b"not a checkpoint", bytes(500), b"\x80\x02}q\x00.", b"\x80\x02]q\x00.", b"u.", b"t\x80\x02", b"PK\x03\x04garbage"],
)
def test_garbage_gives_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.pth"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_mae_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_truncated_file_and_odd_contents_give_one_line(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pth", tmp_path / "bad.pth"
    torch.save(facebook_state(), whole)
    path.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(InputError, match="not a checkpoint"):
        read_mae_checkpoint(path)
    for content in ({1: torch.ones(1)}, {"epoch": 3}, {}, [torch.ones(1)]):
        torch.save(content, path)
        with pytest.raises(InputError, match="holds no state dict"):
            read_mae_checkpoint(path)
    with pytest.raises(InputError, match=r"missing\.pth: no such file"):
        read_mae_checkpoint(tmp_path / "missing.pth")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        read_mae_checkpoint(tmp_path / "folder")


def test_weights_of_other_sizes_are_refused_naming_key_and_both_shapes() -> None:
    state = facebook_state()
    state["norm.weight"] = torch.ones(5)
    with pytest.raises(InputError, match=r"gives norm\.weight the shape \(5,\), the model wants \(16,\)"):
        adapt(small_model(), state)
    state = facebook_state()
    state["pos_embed"] = torch.ones(3)
    with pytest.raises(InputError, match=r"gives pos_embed_v the shape \(3,\)"):
        adapt(small_model(), state)


def test_what_is_no_vision_mae_or_too_shallow_is_refused() -> None:
    with pytest.raises(InputError, match="is no vision MAE"):
        adapt(small_model(), {"fc.weight": torch.ones(3)})
    with pytest.raises(InputError, match="is a CAV-MAE already; read it with `cavmae import`"):
        adapt(small_model(), {f"module.{key}": value for key, value in small_model().state_dict().items()})
    state = {key: value for key, value in facebook_state().items() if not key.startswith("blocks.1.")}
    with pytest.raises(InputError, match=r"has 1 layers, the model 2; set adapt\.model\.depth=1"):
        adapt(small_model(), state)
    odd = facebook_state() | {"blocks.last.weight": torch.ones(1)}
    assert "blocks.last.weight" in adapt(small_model(), odd).left
