"""Analytic counts against flops.json, which was counted on the original, and against what torch counts of ours."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, MODES
from cavmae.models.flops import classifier_macs, pretraining_macs


@pytest.fixture(scope="module")
def counted(golden: Path) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = json.loads((golden / "flops.json").read_text())
    return found


def test_pretraining_counts_are_the_stored_ones(counted: dict[str, dict[str, dict[str, int]]]) -> None:
    wanted = dict(counted["pretrain_mask0p75"]["macs"])
    total = wanted.pop("total_macs")
    with torch.device("meta"):
        found = pretraining_macs(CAVMAE())
    assert list(found.values()) == list(wanted.values())
    assert [name.partition("(")[0] for name in wanted] == list(found)
    assert sum(found.values()) == total == 39034392064


def test_classifier_counts_are_the_stored_ones(counted: dict[str, dict[str, dict[str, int]]]) -> None:
    wanted = counted["finetune_multimodal"]
    with torch.device("meta"):
        found = classifier_macs(CAVMAEFT(309), "multimodal")
    assert found["patch_embed_audio"] + found["patch_embed_video"] == wanted["macs"]["patch_embed"]
    for part in ("encoder_audio", "encoder_video", "joint"):
        assert found[part] == wanted["macs"][part]
    assert sum(found.values()) == wanted["total_macs"]


SIZES = {"img_size": 32, "audio_length": 64, "num_mel_bins": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 4, "depth": 3}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_what_torch_counts(mode: str) -> None:
    model = CAVMAEFT(8, **SIZES, modality_specific_depth=2)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.rand(1, 64, 32), torch.rand(1, 3, 32, 32), mode)
    head = 32 * 8
    assert 2 * (sum(classifier_macs(model, mode).values()) + head) == counter.get_total_flops()


@pytest.mark.parametrize("chain", [False, True])
def test_pretraining_with_several_shared_blocks_is_what_torch_counts(chain: bool) -> None:
    decoder = {"decoder_embed_dim": 16, "decoder_num_heads": 2, "decoder_depth": 2}
    model = CAVMAE(**SIZES, **decoder, modality_specific_depth=1, chain_contrast=chain)
    for mae, contrast in ((1.0, 1.0), (1.0, 0.0)):
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model(torch.rand(1, 64, 32), torch.rand(1, 3, 32, 32), 0.5, 0.75, mae, contrast)
        found = pretraining_macs(model, 0.5, 0.75, contrast=contrast > 0)
        if contrast:
            assert 2 * (sum(found.values()) + 32) == counter.get_total_flops(), "and the one product of the contrast"
        else:
            assert 2 * sum(found.values()) < counter.get_total_flops(), "the plain pass works it out all the same"
