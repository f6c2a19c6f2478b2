"""Sizes from shapes: those of the published models by the golden inventory, and those of any other."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cavmae.errors import InputError
from cavmae.models import CAVMAE, CAVMAEFT
from cavmae.models.folder import Architecture
from cavmae.models.official_config import official_config
from cavmae.models.official_sizes import architecture_of
from cavmae.models.official_state import recognise
from tests.models.official import DECODER, SIZES, parallel
from tests.training.tiny import params

BASE = Architecture(
    img_size=224,
    audio_length=1024,
    num_mel_bins=128,
    patch_size=16,
    audio_patch_size=16,
    embed_dim=768,
    depth=12,
    modality_specific_depth=11,
    num_heads=12,
    mlp_ratio=4.0,
)


@pytest.mark.parametrize("name", ["CAVMAE", "CAVMAEFT_527", "CAVMAEFT_309", "CAVMAEFTAudio_527"])
def test_the_published_models_are_recognised_with_the_defaults(golden: Path, name: str) -> None:
    facts = json.loads((golden / "inventory" / "cavmae.json").read_text())[name]
    # one zero stands for all numbers of a tensor
    shapes = {key: torch.zeros(1).expand(shape) for key, shape, _ in facts["state"]}
    state = recognise(parallel(shapes), Path(name))
    assert state.model == name.partition("_")[0] and state.prefix == "module."
    config = official_config(state, params("import"), None)
    decoder = {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16} if name == "CAVMAE" else {}
    assert config.architecture == BASE.model_copy(update=decoder)
    if name != "CAVMAE":
        assert len(config.labels or ()) == int(name.partition("_")[2]) and config.single_label is ("309" in name)
    with torch.device("meta"):
        config.build().check_strict(state.parameters)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"depth": 3, "modality_specific_depth": 0, "mlp_ratio": 2.0},
        {"patch_size": 8, "audio_patch_size": 16, "audio_length": 96},
        {"mlp_ratio": 3.3, "img_size": 16},
        {"num_mel_bins": 64, "audio_length": 128},
        {"embed_dim": 36, "mlp_ratio": 37 / 36, "decoder_depth": 0},
    ],
)
def test_every_size_is_found_again(sizes: dict[str, Any]) -> None:
    wanted = SIZES | DECODER | sizes
    with torch.no_grad():
        state = CAVMAE(**wanted).state_dict()
    told = {"num_heads": 3, "decoder_num_heads": 4, "num_mel_bins": wanted.get("num_mel_bins", 128)}
    found = architecture_of(recognise(dict(state), Path("x")), params("import", **told))
    again = CAVMAE(**found.model_dump())
    again.load_strict(state)
    assert {key: getattr(found, key) for key in wanted if key != "mlp_ratio"} == {
        k: v for k, v in wanted.items() if k != "mlp_ratio"
    }
    assert again.grid_a == CAVMAE(**wanted).grid_a


def test_mel_bands_that_the_position_table_contradicts_are_refused_also_after_fine_tuning() -> None:
    model = CAVMAEFT(527, **SIZES)
    with torch.no_grad():
        model.pos_embed_a.add_(0.02 * torch.randn_like(model.pos_embed_a))
    state = recognise(dict(model.state_dict()), Path("x"))
    with pytest.raises(InputError, match="is the table of 8 rows of patches, num_mel_bins=256 makes 16; set num_mel_bins=128"):
        architecture_of(state, params("import", num_mel_bins=256))
    with torch.no_grad():  # of a table that was learned from nothing, nobody can tell
        model.pos_embed_a.normal_()
    state = recognise(dict(model.state_dict()), Path("x"))
    assert architecture_of(state, params("import", num_mel_bins=256)).audio_length == 32


@pytest.mark.parametrize(
    ("key", "shape", "told"),
    [
        ("pos_embed_a", (0,), "pos_embed_a is missing, or has another number of axes"),
        ("patch_embed_a.proj.weight", (24, 1, 0, 16), r"patch_embed_a\.proj\.weight has an axis without length"),
        ("mlp_head.1.bias", (0,), r"mlp_head\.1\.bias has an axis without length"),
    ],
)
def test_shapes_that_make_no_model_are_named(key: str, shape: tuple[int, ...], told: str) -> None:
    state = dict(CAVMAEFT(527, **SIZES).state_dict()) | {key: torch.zeros(shape)}
    with pytest.raises(InputError, match=told):
        official_config(recognise(state, Path("x")), params("import", num_heads=3), None)
