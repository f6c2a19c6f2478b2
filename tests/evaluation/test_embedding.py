"""Features: equal to the models' own single passes, joint over both, pooled over tokens and then over pictures."""

import pytest
import torch

from cavmae.evaluation.embedding import MODALITIES, encode, feature_shapes
from cavmae.models import CAVMAE, CAVMAEFT

SIZES = {"img_size": 16, "audio_length": 32, "patch_size": 8, "embed_dim": 16, "modality_specific_depth": 1, "num_heads": 2}
SMALL = {**SIZES, "depth": 3, "num_mel_bins": 16, "audio_patch_size": 8}


@pytest.fixture(params=["pretrained", "classifier"])
def model(request: pytest.FixtureRequest) -> CAVMAE | CAVMAEFT:
    torch.manual_seed(0)
    if request.param == "classifier":
        return CAVMAEFT(5, **SMALL).eval()
    return CAVMAE(**SMALL, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2).eval()


def inputs(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 32, 16, generator=generator), torch.randn(3, frames, 3, 16, 16, generator=generator)


def test_tokens_are_those_of_the_models_own_passes(model: CAVMAE | CAVMAEFT) -> None:
    audio, pictures = inputs(1)
    found = encode(model, audio, pictures, MODALITIES, pooled=False)
    a, v = model.forward_feat(audio, pictures[:, 0])
    torch.testing.assert_close(found["audio"], a, atol=0, rtol=0)
    torch.testing.assert_close(found["video"], v, atol=0, rtol=0)
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == feature_shapes(model, MODALITIES, pooled=False)
    if isinstance(model, CAVMAE):  # the joint pass of pretraining, with nothing masked; its token order is a permutation
        noise_a, noise_v = torch.arange(8.0).expand(3, 8), torch.arange(4.0).expand(3, 4)
        latent = model.forward_encoder(audio, pictures[:, 0], 0.0, 0.0, noise_a=noise_a, noise_v=noise_v).latent
        torch.testing.assert_close(found["joint"], latent, atol=1e-6, rtol=1e-6)
    else:
        torch.testing.assert_close(found["joint"].mean(1), model.pooled(audio, pictures[:, 0], "multimodal"), atol=1e-6, rtol=0)


def test_pooled_is_the_mean_over_tokens_and_then_over_pictures(model: CAVMAE | CAVMAEFT) -> None:
    audio, pictures = inputs(4)
    found = encode(model, audio, pictures, MODALITIES, pooled=True)
    each = [encode(model, audio, pictures[:, frame : frame + 1], MODALITIES, pooled=False) for frame in range(4)]
    for name in MODALITIES:
        mean = torch.stack([tokens[name].mean(dim=1) for tokens in each]).mean(dim=0)
        torch.testing.assert_close(found[name], mean, atol=1e-6, rtol=1e-5)
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == feature_shapes(model, MODALITIES, pooled=True)
    assert (found["joint"] - found["audio"]).abs().max() > 1e-3


def test_one_modality_needs_no_other(model: CAVMAE | CAVMAEFT) -> None:
    audio, pictures = inputs(1)
    both = encode(model, audio, pictures, MODALITIES, pooled=True)
    torch.testing.assert_close(encode(model, audio, None, ("audio",), pooled=True)["audio"], both["audio"])
    torch.testing.assert_close(encode(model, None, pictures, ("video",), pooled=True)["video"], both["video"])
    assert list(feature_shapes(model, ("joint", "audio"), pooled=True)) == ["audio", "joint"]


def test_tokens_of_several_pictures_are_refused(model: CAVMAE | CAVMAEFT) -> None:
    with pytest.raises(ValueError, match="tokens are those of one picture, not of 2"):
        encode(model, *inputs(2), MODALITIES, pooled=False)


def test_a_model_without_visual_parts_gives_audio_alone(model: CAVMAE | CAVMAEFT) -> None:
    del model.patch_embed_v
    assert encode(model, inputs(1)[0], None, ("audio",), pooled=True)["audio"].shape == (3, 16)
