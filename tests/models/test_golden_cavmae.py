"""CAVMAE against cavmae/tiny_* and cavmae/shared_*: what the official implementation computes.

Tolerances are those of the golden README: recomputation with other kernels moves unit-variance activations by 2.7e-6 and
losses by 1e-7, while the smallest wrong choice (LayerNorm eps) moves activations by 1.7e-5. So 1e-5 and 1e-6 separate
right from wrong.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cavmae.models import CAVMAE
from cavmae.models.masking import len_keep
from cavmae.models.patches import patchify, unpatchify
from tests.models.filled import fill

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
MASK_MODES = ["unstructured", "time", "freq", "tf"]


class Tiny:
    def __init__(self, golden: Path) -> None:
        folder = golden / "cavmae"
        self.facts: dict[str, Any] = json.loads((folder / "tiny_expected.json").read_text())
        self.expected = load_file(folder / "tiny_expected.safetensors")
        inputs = load_file(folder / "tiny_inputs.safetensors")
        self.audio, self.image = inputs["audio"].float(), inputs["image"].float()
        self.state = load_file(folder / "tiny_state.safetensors")
        self.noise_v = self.expected["noise_v"]

    def model(self, norm_pix_loss: bool = True) -> CAVMAE:
        model = CAVMAE(**self.facts["config"], norm_pix_loss=norm_pix_loss)
        model.load_strict(self.state)
        return model.eval()

    def noise_a(self, mode: str) -> torch.Tensor:
        return self.expected["noise_a" if mode == "unstructured" else f"{mode}/noise_a_after_structuring"]


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Tiny:
    return Tiny(golden)


@pytest.mark.parametrize("mode", MASK_MODES)
def test_encoder_and_decoder_match_under_every_mask_mode(tiny: Tiny, mode: str) -> None:
    model = tiny.model()
    noise_a = tiny.noise_a(mode)
    if mode == "tf":  # which of the tied tokens are kept is the sort's choice: take the stored one
        noise_a = tiny.expected["tf/ids_restore_a"].float()
    with torch.no_grad():
        encoded = model.forward_encoder(tiny.audio, tiny.image, 0.75, 0.75, noise_a=noise_a, noise_v=tiny.noise_v)
        pred_a, pred_v = model.forward_decoder(*encoded[:5])
    want = {key.removeprefix(f"{mode}/"): value for key, value in tiny.expected.items() if key.startswith(f"{mode}/")}
    for modality in ("a", "v"):
        order = torch.argsort(getattr(encoded, f"ids_restore_{modality}"), dim=1)
        kept = want[f"ids_keep_{modality}"].long()
        assert torch.equal(order[:, : kept.shape[1]], kept)
        assert torch.equal((getattr(encoded, f"mask_{modality}") == 0).sum(1), torch.full((4,), kept.shape[1]))
    if mode in ("unstructured", "tf"):
        assert torch.equal(encoded.ids_restore_a, want["ids_restore_a"].long())
    assert torch.equal(encoded.ids_restore_v, want["ids_restore_v"].long())
    torch.testing.assert_close(encoded.latent, want["latent"], **CLOSE)
    torch.testing.assert_close(encoded.latent_c_a, want["latent_c_a"], **CLOSE)
    torch.testing.assert_close(encoded.latent_c_v, want["latent_c_v"], **CLOSE)
    torch.testing.assert_close(pred_a[:, ::16, ::8], want["pred_a_strided"], **CLOSE)
    torch.testing.assert_close(pred_v[:, ::7, ::16], want["pred_v_strided"], **CLOSE)


def test_losses_match_for_every_mask_mode_weighting_and_pixel_norm(tiny: Tiny) -> None:
    for want in tiny.facts["scalars"]:
        model = tiny.model(want["norm_pix_loss"])
        mode = want["mask_mode"]
        noise_a = tiny.expected["tf/ids_restore_a"].float() if mode == "tf" else tiny.noise_a(mode)
        with torch.no_grad():
            got = model(
                tiny.audio,
                tiny.image,
                mae_loss_weight=want["mae_loss_weight"],
                contrast_loss_weight=want["contrast_loss_weight"],
                noise_a=noise_a,
                noise_v=tiny.noise_v,
            )
        for name in ("loss", "loss_mae", "loss_mae_a", "loss_mae_v", "loss_c"):
            assert getattr(got, name).item() == pytest.approx(want[name], rel=1e-6, abs=1e-9), (name, want)
        assert got.c_acc.item() == pytest.approx(want["c_acc"])


def test_other_mask_ratios_match(tiny: Tiny) -> None:
    for want in tiny.facts["ratios"]:
        with torch.no_grad():
            got = tiny.model(want["norm_pix_loss"])(
                tiny.audio,
                tiny.image,
                want["mask_ratio_a"],
                want["mask_ratio_v"],
                noise_a=tiny.noise_a("unstructured"),
                noise_v=tiny.noise_v,
            )
        assert got.loss.item() == pytest.approx(want["loss"], rel=1e-6)
        assert got.loss_mae_a.item() == pytest.approx(want["loss_mae_a"], rel=1e-6)


def test_number_of_kept_tokens_follows_the_float_arithmetic_of_the_original(tiny: Tiny) -> None:
    for ratio, (audio, video) in tiny.facts["len_keep"].items():
        assert (len_keep(512, float(ratio)), len_keep(196, float(ratio))) == (audio, video)


def test_masks_are_drawn_audio_first_as_torch_rand_gives_them(tiny: Tiny) -> None:
    want = tiny.facts["torch_manual_seed_0"]
    model = tiny.model()
    torch.manual_seed(0)
    with torch.no_grad():
        got = model(tiny.audio, tiny.image)
    assert got.loss.item() == pytest.approx(want["loss"], rel=1e-6)
    assert torch.nonzero(got.mask_a[0] == 0).flatten().tolist()[:16] == want["mask_a_row0_kept"][:16]
    assert torch.nonzero(got.mask_v[0] == 0).flatten().tolist()[:16] == want["mask_v_row0_kept"][:16]


def test_contrastive_loss_matches_in_one_and_in_both_directions(tiny: Tiny) -> None:
    model = tiny.model()
    for mode, by_direction in tiny.facts["bidirect"].items():
        rep_a = tiny.expected[f"{mode}/latent_c_a"].mean(dim=1)
        rep_v = tiny.expected[f"{mode}/latent_c_v"].mean(dim=1)
        for both, (loss, accuracy) in by_direction.items():
            got_loss, got_accuracy = model.forward_contrastive(rep_a, rep_v, bidirect_contrast=both == "True")
            assert got_loss.item() == pytest.approx(loss, rel=1e-5)
            assert got_accuracy.item() == pytest.approx(accuracy)


def test_gradients_match_and_the_same_parameters_get_none(tiny: Tiny) -> None:
    for weights, (mae, contrast) in {"mae1_c0.01": (1.0, 0.01), "mae1_c1": (1.0, 1.0), "c_only": (0.0, 1.0)}.items():
        model = tiny.model().train()
        model(
            tiny.audio,
            tiny.image,
            mae_loss_weight=mae,
            contrast_loss_weight=contrast,
            noise_a=tiny.noise_a("unstructured"),
            noise_v=tiny.noise_v,
        ).loss.backward()
        parameters = dict(model.named_parameters())
        for name, norm in tiny.facts["grad_norm"][weights].items():
            grad = parameters[name].grad
            if norm is None:
                assert grad is None or not grad.any(), name
            else:
                assert grad is not None, name
                # biases of the key projection have no gradient in exact arithmetic: allow their rounding
                assert grad.norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-7), name
        if weights == "mae1_c0.01":
            for key, value in tiny.expected.items():
                if key.startswith("grad/"):
                    grad = parameters[key.removeprefix("grad/")].grad
                    assert grad is not None
                    torch.testing.assert_close(grad, value.reshape(grad.shape), rtol=2e-5, atol=1e-6)


def test_four_adam_steps_match(tiny: Tiny, golden: Path) -> None:
    want = json.loads((golden / "cavmae" / "tiny_adam.json").read_text())
    model = tiny.model().train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-4, weight_decay=5e-7, betas=(0.95, 0.999))
    for row in want["losses"]:
        output = model(tiny.audio, tiny.image, noise_a=tiny.noise_a("unstructured"), noise_v=tiny.noise_v)
        assert [output.loss.item(), output.loss_mae_a.item(), output.loss_mae_v.item(), output.loss_c.item()] == (
            pytest.approx(row, rel=1e-5)
        )
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()


def test_unmasked_features_match(tiny: Tiny) -> None:
    with torch.no_grad():
        a, v = tiny.model().forward_feat(tiny.audio, tiny.image)
    torch.testing.assert_close(a[:, ::8], tiny.expected["feat/a_strided"], **CLOSE)
    torch.testing.assert_close(v[:, ::4], tiny.expected["feat/v_strided"], **CLOSE)
    torch.testing.assert_close(a.mean(1), tiny.expected["feat/a_mean"], **CLOSE)
    torch.testing.assert_close(v.mean(1), tiny.expected["feat/v_mean"], **CLOSE)


def test_inpainting_and_patch_order_match(tiny: Tiny) -> None:
    model = tiny.model(norm_pix_loss=False)
    with torch.no_grad():
        pred_a, pred_v, _, _, loss_a, loss_v = model.forward_inpaint(
            tiny.audio, tiny.image, noise_a=tiny.noise_a("unstructured"), noise_v=tiny.noise_v
        )
    assert loss_a.item() == pytest.approx(tiny.facts["inpaint"]["loss_a"], rel=1e-6)
    assert loss_v.item() == pytest.approx(tiny.facts["inpaint"]["loss_v"], rel=1e-6)
    picture_a, picture_v = unpatchify(pred_a, 1, 8, 64), unpatchify(pred_v, 3, 14, 14)
    torch.testing.assert_close(picture_a[:, :, ::8, ::16], tiny.expected["inpaint/unpatchify_a_strided"], **CLOSE)
    torch.testing.assert_close(picture_v[:, :, ::8, ::8], tiny.expected["inpaint/unpatchify_v_strided"], **CLOSE)
    patches_a, patches_v = patchify(tiny.audio.unsqueeze(1).transpose(2, 3), 16), patchify(tiny.image, 16)
    assert torch.equal(patches_a[:, ::16, ::8], tiny.expected["patchify/a_strided"])
    assert torch.equal(patches_v[:, ::7, ::16], tiny.expected["patchify/v_strided"])
    assert torch.equal(unpatchify(patches_v, 3, 14, 14), tiny.image)
    assert torch.equal(model.patchify(tiny.image, 3, 14, 14), patches_v)
    assert torch.equal(model.unpatchify(patches_v, 3, 14, 14), tiny.image)
    with pytest.raises(ValueError, match="does not make 14 x 13 patches"):
        model.patchify(tiny.image, 3, 14, 13)
    with pytest.raises(ValueError, match="patches of 768 values are not of 8 px"):
        model.unpatchify(patches_v, 3, 14, 14, p=8)


@pytest.mark.parametrize("tag", ["shared2", "shared12"])
def test_several_shared_blocks_are_chained_unless_the_original_is_asked_for(golden: Path, formula: ModuleType, tag: str) -> None:
    facts = json.loads((golden / "cavmae" / "tiny_expected.json").read_text())["T2"][tag]
    expected = load_file(golden / "cavmae" / "shared_expected.safetensors")
    config, batch = facts["config"], facts["batch"]
    audio = torch.from_numpy(formula.inp(f"{tag}/audio", (batch, 256, 128)))
    image = torch.from_numpy(formula.inp(f"{tag}/image", (batch, 3, 64, 64)))
    official = fill(CAVMAE(**config, norm_pix_loss=True, chain_contrast=False), formula)
    noise_a = torch.from_numpy(formula.u01(f"noise_a/{tag}", (batch, 128)))
    noise_v = torch.from_numpy(formula.u01(f"noise_v/{tag}", (batch, 16)))
    with torch.no_grad():
        got = official(audio, image, noise_a=noise_a, noise_v=noise_v)
        encoded = official.forward_encoder(audio, image, 0.75, 0.75, noise_a=noise_a, noise_v=noise_v)
        a, v = official.forward_feat(audio, image)
        ours = fill(CAVMAE(**config, norm_pix_loss=True), formula)
        chained = ours.forward_encoder(audio, image, 0.75, 0.75, noise_a=noise_a, noise_v=noise_v)
    for name in ("loss", "loss_mae_a", "loss_mae_v", "loss_c"):
        assert getattr(got, name).item() == pytest.approx(facts[name], rel=1e-5), name
    torch.testing.assert_close(encoded.latent, expected[f"{tag}/latent"], **CLOSE)
    torch.testing.assert_close(encoded.latent_c_a, expected[f"{tag}/latent_c_a"], **CLOSE)
    torch.testing.assert_close(a[:, ::4], expected[f"{tag}/feat_a"], **CLOSE)
    torch.testing.assert_close(v, expected[f"{tag}/feat_v"], **CLOSE)
    torch.testing.assert_close(chained.latent, encoded.latent)
    difference = (chained.latent_c_a - encoded.latent_c_a).abs().max().item()
    assert difference == pytest.approx(facts["chained_would_differ_by_maxdiff"], rel=0.5)
