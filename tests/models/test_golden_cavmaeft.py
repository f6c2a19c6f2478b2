"""CAVMAEFT against cavmae_ft/expected.*: what the official fine-tuning model computes.

Tolerances are those of the golden README: other kernels move activations by 2.7e-6 and losses by 1e-7, the smallest wrong
choice moves activations by 1.7e-5. So 1e-5 on logits and features and 1e-6 on losses separate right from wrong; norms of
gradients sum many roundings and get 1e-5.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from cavmae.models import CAVMAE, CAVMAEFT
from cavmae.models.cavmaeft import MODES, Mode
from tests.models.filled import fill

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
CONFIGS = ["msd11", "msd10", "msd8_small"]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "BCEWithLogitsLoss": F.binary_cross_entropy_with_logits,
    "CrossEntropyLoss(soft targets)": F.cross_entropy,
}


class Golden:
    def __init__(self, golden: Path, formula: ModuleType) -> None:
        self.facts: dict[str, Any] = json.loads((golden / "cavmae_ft" / "expected.json").read_text())
        self.expected = load_file(golden / "cavmae_ft" / "expected.safetensors")
        inputs = load_file(golden / "cavmae" / "tiny_inputs.safetensors")
        self.audio, self.image = inputs["audio"].float(), inputs["image"].float()
        self.formula = formula

    def model(self, tag: str) -> CAVMAEFT:
        model = fill(CAVMAEFT(**self.facts["configs"][tag]), self.formula, keep=())
        assert isinstance(model, CAVMAEFT)
        return model

    def inputs(self, tag: str) -> tuple[Tensor, Tensor]:
        config = self.facts["configs"][tag]
        side = config["img_size"]
        return self.audio[:, : config["audio_length"]], self.image[:, :, :side, :side]


@pytest.fixture(scope="module")
def want(golden: Path, formula: ModuleType) -> Golden:
    return Golden(golden, formula)


@pytest.mark.parametrize("tag", CONFIGS)
def test_logits_match_in_all_five_modes(want: Golden, tag: str) -> None:
    model = want.model(tag)
    with torch.no_grad():
        for mode in MODES:
            logits = model(*want.inputs(tag), mode)
            torch.testing.assert_close(logits, want.expected[f"{tag}/{mode}"], **CLOSE)


def test_the_modes_are_those_of_the_type() -> None:
    assert get_args(Mode) == MODES and len(MODES) == 5


@pytest.mark.parametrize("tag", CONFIGS)
def test_token_features_match_together_and_one_by_one(want: Golden, tag: str) -> None:
    model = want.model(tag)
    audio, image = want.inputs(tag)
    with torch.no_grad():
        a, v = model.forward_feat(audio, image)
        assert torch.equal(model.forward_feat(audio, None, "a"), a)
        assert torch.equal(model.forward_feat(None, image, "v"), v)
    for name, features, stride in (("a", a, 16), ("v", v, 7)):
        torch.testing.assert_close(features[:, ::stride], want.expected[f"{tag}/feat_{name}_strided"], **CLOSE)
        torch.testing.assert_close(features.mean(1), want.expected[f"{tag}/feat_{name}_mean"], **CLOSE)


@pytest.mark.parametrize("tag", CONFIGS)
def test_losses_and_gradients_match_for_bce_and_soft_label_ce(want: Golden, tag: str) -> None:
    for name, facts in want.facts["loss"][tag].items():
        kind, mode = name.split("/")
        model = want.model(tag)
        loss = LOSSES[kind](model(*want.inputs(tag), mode), want.expected[f"{tag}/target"])
        assert loss.item() == pytest.approx(facts["loss"], rel=1e-6), name
        loss.backward()
        gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
        assert sum(gradient is None for gradient in gradients.values()) == facts["n_params_without_grad"], name
        norms = torch.stack([gradient.norm() for gradient in gradients.values() if gradient is not None])
        assert norms.norm().item() == pytest.approx(facts["grad_total_norm"], rel=1e-5), name
        for key, norm in facts["grad_norm"].items():
            gradient = gradients[key]
            assert gradient is not None and gradient.norm().item() == pytest.approx(norm, rel=1e-5), (name, key)


def test_mean_over_ten_frames_matches_for_sigmoid_and_softmax(want: Golden) -> None:
    model = want.model("msd11")
    frames = torch.from_numpy(want.formula.inp("ft/frames", (10, 4, 3, 224, 224)))
    by_clip = frames.transpose(0, 1).flatten(0, 1)  # [4*10, 3, 224, 224]: the frames of a clip follow each other
    with torch.no_grad():
        logits = model.frame_logits(want.audio, by_clip, 10, "multimodal").view(4, 10, -1)
    torch.testing.assert_close(logits.transpose(0, 1), want.expected["multiframe/logits"], **CLOSE)
    torch.testing.assert_close(torch.sigmoid(logits).mean(1), want.expected["multiframe/mean_sigmoid"], **CLOSE)
    torch.testing.assert_close(torch.softmax(logits, -1).mean(1), want.expected["multiframe/mean_softmax"], **CLOSE)


def test_a_pretrained_state_lacks_the_head_and_has_the_decoder_too_much(want: Golden) -> None:
    facts = want.facts["load_pretrain_ckpt"]
    config = {key: value for key, value in want.facts["configs"]["msd11"].items() if key not in ("label_dim", "tr_pos")}
    pretrained = CAVMAE(**config, decoder_embed_dim=32, decoder_depth=2, decoder_num_heads=4).state_dict()
    own = want.model("msd11").state_dict()
    unexpected = [key for key in pretrained if key not in own]
    assert [key for key in own if key not in pretrained] == facts["missing"]
    assert len(unexpected) == facts["unexpected_count"]
    assert sorted({key.split(".")[0] for key in unexpected}) == facts["unexpected_prefixes"]


def test_audio_only_equals_the_original_that_has_no_picture_branch(want: Golden) -> None:
    with torch.no_grad():
        tokens = want.model("msd11").forward_feat(want.audio, None, "a")
    assert isinstance(tokens, Tensor)
    torch.testing.assert_close(tokens[:, ::16], want.expected["ftaudio/forward_feat_strided"], **CLOSE)


def test_an_unknown_mode_and_a_missing_input_are_refused() -> None:
    model = CAVMAEFT(3, img_size=32, audio_length=64, embed_dim=16, num_heads=2, depth=2, modality_specific_depth=1)
    audio, image = torch.zeros(1, 64, 128), torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match="unknown mode 'both'; known: multimodal"):
        model(audio, image, "both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'multimodal' needs pictures"):
        model(audio, None, "multimodal")
    with pytest.raises(ValueError, match="'audioonly' needs audio"):
        model(None, image, "audioonly")
    with pytest.raises(ValueError, match="unknown feature mode 'x'"):
        model.forward_feat(audio, image, "x")  # type: ignore[arg-type]
