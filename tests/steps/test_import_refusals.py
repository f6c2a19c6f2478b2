"""The command `import`: what does not fit is refused in one line that names it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cavmae.errors import InputError
from cavmae.models.folder import read_config
from tests.models.official import adaptation_output, classifier, parallel, pretrained
from tests.models.test_mae_checkpoint import facebook_state
from tests.steps.importing import imported
from tests.training.tiny import run_step


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "has 7 outputs, which does not tell what they are; set single_label=true .* or single_label=false"),
        ({"single_label": "true", "num_heads": 5}, "embed_dim 24 is not divisible by num_heads 5"),
        (
            {"single_label": "true", "num_mel_bins": 64},
            "is the table of 8 rows of patches, num_mel_bins=64 makes 4; .*num_mel_bins=128",
        ),
        ({"single_label": "true", "num_mel_bins": 80}, "pos_embed_a has 32 places .* which 80 mel bands do not fill evenly"),
    ],
)
def test_a_parameter_that_does_not_fit_the_classifier_is_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=rf"audio_model\.25\.pth: .*{told}"):
        imported(tmp_path, parallel(classifier(7).state_dict()), **changes)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"decoder_num_heads": 3}, "decoder_embed_dim 16 is not divisible by decoder_num_heads 3"),
        ({"mode": "audioonly"}, "is a pretrained model without a classification head; leave mode out"),
        ({"single_label": "true"}, "leave single_label out"),
    ],
)
def test_a_parameter_that_does_not_fit_the_pretrained_model_is_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        imported(tmp_path, parallel(pretrained().state_dict()), **changes)


def test_the_mode_of_a_classifier_is_told_and_an_audio_only_one_has_one_mode(tmp_path: Path) -> None:
    video = imported(tmp_path / "v", parallel(classifier().state_dict()), mode="videoonly")
    assert read_config(video).mode == "videoonly"
    with pytest.raises(InputError, match="has no visual parts, so that mode 'multimodal' is not possible; leave mode out"):
        imported(tmp_path / "a", parallel(classifier(modalities="a").state_dict()), mode="multimodal")


def test_missing_unexpected_and_misshapen_weights_are_named(tmp_path: Path) -> None:
    state = pretrained().state_dict()
    state["norm.weight"] = torch.ones(5)
    state["blocks_v.1.gamma"] = state.pop("blocks_v.1.norm1.bias")
    state["decoder_pred_v.weight"] = torch.ones(7, 16)
    with pytest.raises(InputError) as caught:
        imported(tmp_path, parallel(state))
    message = str(caught.value)
    assert "missing blocks_v.1.norm1.bias" in message and "unexpected blocks_v.1.gamma" in message
    assert "norm.weight has shape (5,), the model wants (24,)" in message
    assert "decoder_pred_v.weight has shape (7, 16), the model wants (768, 16)" in message
    assert "\n" not in message and not (tmp_path / "model").exists()


@pytest.mark.parametrize("key", ["pos_embed_v", "patch_embed_a.proj.weight", "modality_v", "mlp_head.1.bias", "norm_v.bias"])
def test_one_missing_weight_is_the_one_that_is_named(tmp_path: Path, key: str) -> None:
    state = classifier().state_dict()
    del state[key]
    with pytest.raises(InputError, match=rf"pth: missing {key}$"):
        imported(tmp_path, parallel(state))


def test_a_missing_block_is_named_as_missing(tmp_path: Path) -> None:
    state = {key: value for key, value in classifier().state_dict().items() if not key.startswith("blocks_a.1.")}
    with pytest.raises(InputError, match=r"missing blocks_a\.1\.norm1\.weight; .* and \d+ more"):
        imported(tmp_path, parallel(state))
    state = classifier().state_dict() | {"blocks_a.99999999.norm1.weight": torch.ones(24)}
    with pytest.raises(InputError, match=r"has a block blocks_a\.99999999; no such model"):
        imported(tmp_path, parallel(state))


def test_a_trained_class_token_is_not_left_out(tmp_path: Path) -> None:
    state = adaptation_output(dict(pretrained().state_dict()))
    state["cls_token_v"] += 1
    with pytest.raises(InputError, match="unexpected cls_token_a; unexpected cls_token_v; unexpected cls_token_av"):
        imported(tmp_path, state)


def test_an_encoder_alone_is_refused_and_what_is_missing_named(tmp_path: Path) -> None:
    state = {key: value for key, value in pretrained().state_dict().items() if not key.startswith(("decoder_", "mask_token"))}
    with pytest.raises(
        InputError, match=r"holds an encoder alone: decoder \(decoder_embed\.weight and more\) and head \(mlp_head"
    ):
        imported(tmp_path, parallel(state))


def test_a_decoder_beside_a_head_is_unexpected(tmp_path: Path) -> None:
    state = classifier().state_dict() | {"mask_token": torch.zeros(1, 1, 16)}
    with pytest.raises(InputError, match="unexpected mask_token"):
        imported(tmp_path, parallel(state))


def test_values_that_are_no_finite_numbers_are_refused(tmp_path: Path) -> None:
    state = classifier().state_dict()
    state["norm_a.bias"][3] = float("nan")
    with pytest.raises(InputError, match=r"norm_a\.bias holds values that are not finite"):
        imported(tmp_path, parallel(state))
    state["norm_a.bias"] = torch.ones(24, dtype=torch.int64)
    with pytest.raises(InputError, match=r"norm_a\.bias holds torch\.int64, not floating-point numbers"):
        imported(tmp_path, parallel(state))


def test_other_files_are_refused_saying_what_they_are(tmp_path: Path) -> None:
    optimizer = torch.optim.Adam(pretrained().parameters(), 1e-4)
    with pytest.raises(InputError, match=r"best_optim_state\.pth: is the state of an optimizer, not of a model"):
        imported(tmp_path, optimizer.state_dict(), "best_optim_state.pth")
    with pytest.raises(InputError, match=r"start from it with `cavmae adapt --checkpoint .*mae_pretrain_vit_base\.pth`"):
        imported(tmp_path, {"model": facebook_state()}, "mae_pretrain_vit_base.pth")
    with pytest.raises(InputError, match=r"is no CAV-MAE: it holds fc\.weight, and no patch_embed_a\.proj\.weight"):
        imported(tmp_path, {"fc.weight": torch.ones(3)})
    with pytest.raises(InputError, match="is a folder; give the checkpoint file itself"):
        run_step("import", {"checkpoint": tmp_path, "out": tmp_path / "model"})
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file"):
        run_step("import", {"checkpoint": tmp_path / "nowhere.pth", "out": tmp_path / "model"})
    assert not (tmp_path / "model").exists()
