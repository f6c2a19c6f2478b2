"""Compiled blocks, checkpointed activations, kernels: the same results, and words where one is missing."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cavmae.errors import InputError
from cavmae.models.blocks import Block
from cavmae.models.cavmae import CAVMAE
from cavmae.models.pretraining_pass import PretrainInputs, PretrainSettings, pretraining_losses
from cavmae.training.acceleration import accelerate, compile_blocks
from cavmae.training.curves import read_curves
from tests.training.launch import finished, torchrun, words
from tests.training.tiny import params, same_files, tiny, train

SIZES: dict[str, Any] = {"img_size": 32, "audio_length": 64, "num_mel_bins": 32, "patch_size": 8, "embed_dim": 32} | {
    "num_heads": 4, "mlp_ratio": 2.0, "depth": 4, "modality_specific_depth": 2,
    "decoder_embed_dim": 16, "decoder_num_heads": 2, "decoder_depth": 3,
}  # fmt: skip


def step(model: CAVMAE, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(count)
    shapes = ((64, 32), (3, 32, 32), (model.num_patches_a,), (model.num_patches_v,))
    given = PretrainInputs(*(torch.rand(count, *shape, generator=generator) for shape in shapes))
    model.zero_grad()
    loss = pretraining_losses(model, given, PretrainSettings()).loss
    loss.backward()
    return loss.detach(), {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def test_compiled_blocks_are_compiled_once_for_each_kind_whatever_the_batch() -> None:
    """What is compiled is counted, and run as it is: no compiler is needed."""
    torch.manual_seed(0)
    plain = CAVMAE(**SIZES)
    compiled = CAVMAE(**SIZES)
    names = list(compiled.state_dict())
    compiled.load_state_dict(plain.state_dict())
    graphs: list[int] = []

    def counting(graph: torch.fx.GraphModule, _: list[Tensor]) -> Any:
        graphs.append(len(list(graph.graph.nodes)))
        return graph.forward

    torch._dynamo.reset()
    compile_blocks([module for module in compiled.modules() if isinstance(module, Block)], backend=counting)  # type: ignore[arg-type]
    assert list(compiled.state_dict()) == names
    counts = []
    for clips in (6, 6, 4, 5, 3):
        (loss, found), (wanted, expected) = step(compiled, clips), step(plain, clips)
        torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=2e-5 * max(float(value.abs().max()), 1e-3), msg=name)
        with torch.no_grad():
            compiled.forward_feat(torch.rand(clips, 64, 32), torch.rand(clips, 3, 32, 32))
        counts.append(len(graphs))
    # two widths, both kinds of pass, the last decoder block, and without gradients the unified and the two single passes
    assert 0 < counts[0] <= 10 and counts[-1] == counts[0], counts


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_compiled_run_ends_where_a_plain_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    start = tiny().adapted if name == "pretrain" else tiny().pretrained
    for kind in ("false", "true"):
        torch._dynamo.reset()
        train(name, tmp_path / kind, tiny().dataset, start, batch_size=10, keep_epochs=0, epochs=2, compile=kind)
    close(tmp_path / "false", tmp_path / "true", 1e-4)
    code, messages = finished(torchrun(2, tmp_path / "two", words(name, tmp_path / "two", epochs=2, compile="true")))
    assert code == 0, messages


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_checkpointed_activations_change_no_byte_of_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    start = tiny().adapted if name == "pretrain" else tiny().pretrained
    for kind in ("false", "true"):
        train(
            name, tmp_path / kind, tiny().dataset, start, keep_epochs=0, epochs=1, warmup_epochs=0, activation_checkpointing=kind
        )
    assert same_files(tmp_path / "false" / "model", tmp_path / "true" / "model") == ["lineage.json"]


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_bf16_on_a_cpu_stays_near_float32_and_gives_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    start = tiny().adapted if name == "pretrain" else tiny().pretrained
    for kind, precision in (("full", "float32"), ("half", "bf16"), ("again", "bf16")):
        train(name, tmp_path / kind, tiny().dataset, start, keep_epochs=0, epochs=2, precision=precision)
    close(tmp_path / "full", tmp_path / "half", 0.05)
    assert same_files(tmp_path / "half" / "model", tmp_path / "again" / "model") == []
    assert same_files(tmp_path / "full" / "model", tmp_path / "half" / "model") != []


def close(one: Path, other: Path, relative: float) -> None:
    """Hold losses of two runs together."""
    for row, wanted in zip(*(read_curves(out / "curves.tsv") for out in (one, other)), strict=True):
        for figure in ("train_loss", "val_loss"):
            assert row[figure] == pytest.approx(wanted[figure], rel=relative)
    states = [load_file(next((out / "model").glob("*.safetensors"))) for out in (one, other)]
    assert states[0].keys() == states[1].keys()


def test_a_missing_compiler_is_named_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"compile is true, and no C\+\+ compiler is there \(g\+\+\); install one"):
        accelerate(nn.Linear(1, 1), params("pretrain", compile="true"))
    accelerate(nn.Linear(1, 1), params("pretrain"))


def test_tf32_is_refused_on_a_cpu() -> None:
    with pytest.raises(InputError, match="it needs device cuda"):
        params("pretrain", precision="tf32")
    assert params("pretrain", precision="tf32", device="cuda").precision == "tf32"
