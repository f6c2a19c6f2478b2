"""The pass that training takes, held to the plain one: losses and gradients under all settings.

In float64 they agree to 1e-12 and 1e-9: the maths is the same. In float32 losses are held to 1e-6 of their value, gradients to
2e-5 of the largest entry of each; sums are taken in another order.
"""

import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from cavmae.models.batch_share import BatchShare
from cavmae.models.cavmae import CAVMAE, PretrainOutput
from cavmae.models.masking import MASK_MODES, strike
from cavmae.models.pretraining_pass import PretrainInputs, PretrainLosses, PretrainSettings, pretraining_losses

BATCH = 7
PARTS = ("loss", "loss_mae", "loss_mae_a", "loss_mae_v", "loss_c", "c_acc")
SIZES: dict[str, Any] = {"img_size": 32, "audio_length": 64, "num_mel_bins": 32, "patch_size": 8, "embed_dim": 32} | {
    "num_heads": 4, "mlp_ratio": 2.0, "decoder_embed_dim": 16, "decoder_num_heads": 2
}  # fmt: skip


def network(dtype: torch.dtype, **changes: Any) -> CAVMAE:
    torch.manual_seed(0)
    settings = {"depth": 4, "modality_specific_depth": 2, "decoder_depth": 2} | changes
    model = CAVMAE(**SIZES, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:  # norms at 1 and 0 would hide which of them is used
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype)


def inputs(model: CAVMAE, dtype: torch.dtype, mode: Any = "unstructured", count: int = BATCH) -> PretrainInputs:
    generator = torch.Generator().manual_seed(1)
    shapes = ((64, 32), (3, 32, 32), (model.num_patches_a,), (model.num_patches_v,))
    audio, imgs, noise_a, noise_v = (torch.rand(count, *shape, generator=generator, dtype=dtype) for shape in shapes)
    noise_a = strike(noise_a, mode, 0.75, *model.grid_a, rng=random.Random(2))
    return PretrainInputs(audio, imgs, noise_a, noise_v)


def plain(model: CAVMAE, given: PretrainInputs, settings: PretrainSettings, share: BatchShare | None = None) -> PretrainOutput:
    output: PretrainOutput = model(given.audio, given.imgs, *settings[:4], bidirect_contrast=settings.bidirect_contrast,
        replicas=settings.replicas, noise_a=given.noise_a, noise_v=given.noise_v, share=share)  # fmt: skip
    return output


def gradients(model: CAVMAE, output: PretrainOutput | PretrainLosses) -> dict[str, Tensor]:
    model.zero_grad()
    output.loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def check(model: CAVMAE, given: PretrainInputs, settings: PretrainSettings, share: BatchShare | None = None) -> None:
    exact = given.audio.dtype == torch.float64
    want, found = plain(model, given, settings, share), pretraining_losses(model, given, settings, share)
    for part in PARTS:
        torch.testing.assert_close(getattr(found, part), getattr(want, part), rtol=1e-12 if exact else 1e-6, atol=0, msg=part)
    expected, got = gradients(model, want), gradients(model, found)
    assert got.keys() == expected.keys(), "the same parameters get a gradient"
    for name, value in expected.items():
        scale = 1e-9 if exact else 2e-5
        # the biases of keys have no gradient in exact arithmetic
        torch.testing.assert_close(got[name], value, rtol=0, atol=scale * max(float(value.abs().max()), 1e-3), msg=name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mode", MASK_MODES)
@pytest.mark.parametrize("norm_pix_loss", [False, True])
@pytest.mark.parametrize("chain_contrast", [False, True])
def test_losses_and_gradients_are_those_of_the_plain_pass(
    dtype: torch.dtype, mode: Any, norm_pix_loss: bool, chain_contrast: bool
) -> None:
    model = network(dtype, norm_pix_loss=norm_pix_loss, chain_contrast=chain_contrast, tr_pos=mode == "tf")
    check(model, inputs(model, dtype, mode), PretrainSettings(contrast_loss_weight=0.5, bidirect_contrast=norm_pix_loss))


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.3, 2.0)])
@pytest.mark.parametrize("depths", [(1, 0, 1), (2, 1, 1), (3, 0, 3)])
def test_what_has_no_weight_is_left_out_and_gets_no_gradient(weights: tuple[float, float], depths: tuple[int, int, int]) -> None:
    sizes = dict(zip(("depth", "modality_specific_depth", "decoder_depth"), depths, strict=True))
    for chain in (False, True):
        model = network(torch.float64, chain_contrast=chain, **sizes)
        check(model, inputs(model, torch.float64), PretrainSettings(0.75, 0.5, *weights))


@pytest.mark.parametrize("ratios", [(0.5, 0.9), (0.95, 0.1)])
def test_other_mask_ratios(ratios: tuple[float, float]) -> None:
    model = network(torch.float64)
    check(model, inputs(model, torch.float64), PretrainSettings(*ratios))


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("cuts", [[0, 7], [0, 4, 7], [0, 3, 5, 7], [0, 1, 2, 7]])
def test_replicas_and_shares_of_several_processes(replicas: int, cuts: list[int]) -> None:
    model = network(torch.float64)
    given, settings = inputs(model, torch.float64), PretrainSettings(contrast_loss_weight=0.7, replicas=replicas)
    check(model, given, settings)
    for start, stop in itertools.pairwise(cuts):
        others = torch.rand(BATCH, 32, dtype=torch.float64)

        def gather(rows: Tensor, start: int = start, stop: int = stop, others: Tensor = others) -> Tensor:
            return torch.cat([others[:start], rows, others[stop:]])

        share = BatchShare(start, stop, BATCH, gather)
        check(model, PretrainInputs(*(value[start:stop] for value in given)), settings, share)


def test_the_original_model_with_its_ties() -> None:
    model = network(torch.float32, official_ties=True, chain_contrast=False)
    given = inputs(model, torch.float32)
    ties = strike(given.noise_a, "tf", 0.75, *model.grid_a, rng=random.Random(3), official_ties=True)
    check(model, given._replace(noise_a=ties), PretrainSettings())


def test_activation_checkpointing_changes_no_bit() -> None:
    model = network(torch.float32)
    given, settings = inputs(model, torch.float32), PretrainSettings()
    expected = gradients(model, pretraining_losses(model, given, settings))
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    for block in (*model.blocks_a, *model.blocks_v, *model.blocks_u, *model.decoder_blocks):
        block.checkpointing = True
        block.mlp.register_forward_pre_hook(count)
    found = gradients(model, pretraining_losses(model, given, settings))
    assert calls == 2 * (2 + 2 + 2 + 2), "each block is worked out again in the backward pass"
    assert found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


def test_in_bf16_the_losses_are_close_and_the_contrast_is_not_rounded() -> None:
    model = network(torch.float32)
    given, settings = inputs(model, torch.float32), PretrainSettings(contrast_loss_weight=1.0)
    want = pretraining_losses(model, given, settings)
    with torch.autocast("cpu", torch.bfloat16):
        found = pretraining_losses(model, given, settings)
        reference = plain(model, given, settings)
    assert found.loss_c.dtype == found.loss.dtype == torch.float32
    for part in ("loss", "loss_mae", "loss_c"):
        assert getattr(found, part).item() == pytest.approx(getattr(want, part).item(), rel=2e-2)
    assert reference.loss_mae.item() == pytest.approx(found.loss_mae.item(), rel=1e-2)
