"""What is hidden, what is pasted, and what is left alone; the pasting against what the original's script shows."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cavmae.evaluation.inpainting import Inpainted, Masking, denormalise_patches, inpaint_clip
from cavmae.features.images import denormalise_images, normalise_images
from cavmae.models import CAVMAE
from cavmae.models.masking import MASK_MODES, MaskMode
from cavmae.models.patches import patchify, unpatchify

RATIOS = [(0.75, 0.75), (0.5, 0.9), (0.9, 0.25), (1.0, 0.5), (0.5, 1.0)]


def model(norm_pix_loss: bool = False) -> CAVMAE:
    """Pictures of 4 x 4 patches, spectrograms of 64 bands and 96 frames in 4 x 6 patches."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "depth": 2, "modality_specific_depth": 1, "num_heads": 2, "decoder_embed_dim": 16}
    sizes |= {"img_size": 32, "patch_size": 8, "audio_length": 96, "num_mel_bins": 64, "audio_patch_size": 16}
    return CAVMAE(**sizes, decoder_depth=1, decoder_num_heads=2, norm_pix_loss=norm_pix_loss).eval()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (1, 32, 32, 3), generator=generator, dtype=torch.uint8)
    return torch.randn(1, 96, 64, generator=generator), normalise_images(frames)


def inpainted(network: CAVMAE, masking: Masking, clip: str = "a clip") -> Inpainted:
    return inpaint_clip(network, *inputs(), masking, *masking.noise(network, clip))


@pytest.mark.parametrize("norm_pix_loss", [False, True])
@pytest.mark.parametrize("ratios", RATIOS, ids=str)
@pytest.mark.parametrize("mode", MASK_MODES)
def test_what_the_model_saw_is_kept_to_the_bit_and_the_rest_is_its_own(
    mode: MaskMode, ratios: tuple[float, float], norm_pix_loss: bool
) -> None:
    network = model(norm_pix_loss)
    result = inpainted(network, Masking(mode, *ratios, seed=3))
    audio, image = inputs()
    assert torch.equal(result.audio, audio[0]) and torch.equal(result.image, image[0])
    for original, restored, hidden, ratio, count in (
        (result.audio, result.audio_restored, result.hidden_a, ratios[0], 24),
        (result.image, result.image_restored, result.hidden_v, ratios[1], 16),
    ):
        assert torch.equal(restored[~hidden], original[~hidden])
        assert not (restored[hidden] == original[hidden]).any()
        assert hidden.float().mean() == (count - int(count * (1 - ratio))) / count  # the share of whole patches
    assert result.loss_a is not None and result.loss_v is not None
    seen = denormalise_images(result.image_restored.unsqueeze(0)), denormalise_images(image)
    visible = ~result.hidden_v.permute(1, 2, 0)
    assert torch.equal(seen[0][0][visible], seen[1][0][visible])


def test_predictions_stand_in_the_places_of_their_patches() -> None:
    network, masking = model(), Masking("unstructured", 0.75, 0.5, seed=0)
    noise = masking.noise(network, "a clip")
    audio, image = inputs()
    with torch.no_grad():
        pred_a, pred_v, *_, loss_a, loss_v = network.forward_inpaint(audio, image, 0.75, 0.5, noise_a=noise[0], noise_v=noise[1])
    result = inpaint_clip(network, audio, image, masking, *noise)
    spectrogram = unpatchify(pred_a, 1, 4, 6)[0, 0].t()  # [T, M]
    assert torch.equal(result.audio_restored[result.hidden_a], spectrogram[result.hidden_a])
    picture = unpatchify(pred_v, 3, 4, 4)[0]
    assert torch.equal(result.image_restored[result.hidden_v], picture[result.hidden_v])
    assert (result.loss_a, result.loss_v) == (float(loss_a), float(loss_v))


@pytest.mark.parametrize(("mode", "columns", "rows"), [("time", 4, 0), ("freq", 0, 3)])
def test_structured_masks_hide_whole_moments_or_bands_of_the_sound(mode: MaskMode, columns: int, rows: int) -> None:
    network = model()
    hidden = inpainted(network, Masking(mode, 0.75, 0.75, seed=0)).hidden_a
    assert int(hidden.all(dim=1).sum()) >= columns * 16 and int(hidden.all(dim=0).sum()) >= rows * 16


def test_masks_depend_on_seed_and_name_alone() -> None:
    network = model()
    for mode in MASK_MODES:
        first = Masking(mode, 0.75, 0.75, seed=0).noise(network, "one")
        Masking(mode, 0.75, 0.75, seed=0).noise(network, "another")
        again = Masking(mode, 0.75, 0.75, seed=0).noise(network, "one")
        assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
        for seed, name in ((1, "one"), (0, "another")):
            other = Masking(mode, 0.75, 0.75, seed=seed).noise(network, name)
            assert not torch.equal(other[0], first[0]) and not torch.equal(other[1], first[1])


@pytest.mark.parametrize("hidden", ["a", "v"])
def test_where_nothing_is_hidden_nothing_changes_and_there_is_no_loss(hidden: str) -> None:
    result = inpainted(model(), Masking("unstructured", 0.5 * (hidden == "a"), 0.5 * (hidden == "v"), seed=0))
    if hidden == "a":
        assert result.loss_v is None and result.loss_a is not None and torch.equal(result.image_restored, result.image)
    else:
        assert result.loss_a is None and result.loss_v is not None and torch.equal(result.audio_restored, result.audio)


def test_normalised_predictions_get_back_what_the_loss_took_from_the_target() -> None:
    target = patchify(torch.randn(1, 1, 64, 96) * 3 + 2, 16)
    normalised = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** 0.5
    torch.testing.assert_close(denormalise_patches(normalised, target), target, atol=1e-5, rtol=1e-5)

    network = model(norm_pix_loss=True)
    result = inpainted(network, Masking("unstructured", 0.75, 0.75, seed=0))
    target = patchify(result.image.unsqueeze(0), 8)
    restored = patchify(result.image_restored.unsqueeze(0), 8)
    hidden = patchify(result.hidden_v.unsqueeze(0), 8).all(dim=-1)
    normalised = (restored - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** 0.5
    wanted = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** 0.5
    loss = (normalised - wanted)[hidden].square().mean()
    assert float(loss) == pytest.approx(result.loss_v, rel=1e-4)  # what is shown is what the loss is about


def test_predictions_that_are_no_numbers_are_refused() -> None:
    network = model()
    torch.nn.init.constant_(network.decoder_pred_v.weight, float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        inpainted(network, Masking("unstructured", 0.75, 0.75, seed=0))


def test_what_is_pasted_is_what_the_original_pastes(golden: Path) -> None:
    """Predictions of cavmae/tiny_expected, which the original's script puts where its mask is 1; 1e-5 as in the golden README."""
    folder = golden / "cavmae"
    facts, expected = json.loads((folder / "tiny_expected.json").read_text()), load_file(folder / "tiny_expected.safetensors")
    given = load_file(folder / "tiny_inputs.safetensors")
    network = CAVMAE(**facts["config"], norm_pix_loss=False).eval()
    network.load_strict(load_file(folder / "tiny_state.safetensors"))
    masking = Masking("unstructured", 0.75, 0.75, seed=0)
    for sample in range(2):
        noise = expected["noise_a"][sample : sample + 1], expected["noise_v"][sample : sample + 1]
        audio, image = (given[name][sample : sample + 1].float() for name in ("audio", "image"))
        result = inpaint_clip(network, audio, image, masking, *noise)
        hidden_a, hidden_v = result.hidden_a.t()[::8, ::16], result.hidden_v[:, ::8, ::8]
        want_a = torch.where(hidden_a, expected["inpaint/unpatchify_a_strided"][sample, 0], audio[0].t()[::8, ::16])
        want_v = torch.where(hidden_v, expected["inpaint/unpatchify_v_strided"][sample], image[0, :, ::8, ::8])
        torch.testing.assert_close(result.audio_restored.t()[::8, ::16], want_a, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(result.image_restored[:, ::8, ::8], want_v, atol=1e-5, rtol=1e-5)
        assert int(hidden_a.sum()) > 600 and int(hidden_v.sum()) > 1500
