"""A classifier of sound without visual parts: what it has, what it computes, and how its folder says so."""

import json
from pathlib import Path

import pytest
import torch

from cavmae.errors import InputError
from cavmae.models import CAVMAEFT
from cavmae.models.files import CONFIG
from cavmae.models.folder import ModelConfig, check_modalities, read_config, read_model, write_model
from tests.models.official import SIZES, classifier
from tests.training.tiny import tiny


def test_the_parameters_are_those_of_the_golden_audio_model(golden: Path) -> None:
    want = json.loads((golden / "inventory" / "cavmae.json").read_text())["CAVMAEFTAudio_527"]
    with torch.device("meta"):
        model = CAVMAEFT(527, modalities="a")
    assert sorted((key, list(value.shape)) for key, value in model.state_dict().items()) == sorted(
        (key, shape) for key, shape, _ in want["state"]
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == want["n_params"]


def test_it_computes_what_the_whole_model_computes_from_sound() -> None:
    whole, alone = classifier(5), classifier(5, seed=1, modalities="a")
    alone.load_strict({key: value for key, value in whole.state_dict().items() if key in alone.state_dict()})
    audio = torch.randn(2, SIZES["audio_length"], 128)
    image = torch.zeros(2, 3, SIZES["img_size"], SIZES["img_size"])
    with torch.no_grad():
        for mode in ("audioonly", "missingaudioonly"):
            assert torch.equal(alone(audio, None, mode), whole(audio, None, mode))
        tokens, wanted = alone.forward_feat(audio, None, "a"), whole.forward_feat(audio, None, "a")
        assert isinstance(tokens, torch.Tensor) and isinstance(wanted, torch.Tensor) and torch.equal(tokens, wanted)
    for mode in ("multimodal", "videoonly", "missingvideoonly"):
        with pytest.raises(ValueError, match="the model has no visual parts; use it on sound alone, in mode 'audioonly'"):
            alone(audio, image, mode)
    with pytest.raises(ValueError, match="no visual parts"):
        alone.frame_logits(audio, image, 1, "multimodal")
    with pytest.raises(ValueError, match="no visual parts"):
        alone.forward_feat(audio, image)


def _config() -> ModelConfig:
    return read_config(tiny().classifier("audioonly")).model_copy(update={"modalities": "a"})


def test_its_folder_is_read_strictly_and_tasks_that_see_refuse_it(tmp_path: Path) -> None:
    config = _config()
    torch.manual_seed(0)
    state = config.build().state_dict()
    write_model(tmp_path / "m", config, state, {})
    again, model = read_model(tmp_path / "m")
    assert again == config and isinstance(model, CAVMAEFT) and model.modalities == "a"
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    with pytest.raises(InputError, match="m: is a model of sound alone, without visual parts; retrieval needs one of both"):
        check_modalities(again, tmp_path / "m", "retrieval")
    check_modalities(read_config(tiny().classifier()), tmp_path, "retrieval")
    whole = read_model(tiny().classifier("audioonly"))[1].state_dict()
    write_model(tmp_path / "m", config, whole, {})
    with pytest.raises(InputError, match=r"unexpected blocks_v\.0\.attn\.proj\.bias; .* more$"):
        read_model(tmp_path / "m")


def test_a_configuration_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m", _config(), {}, {})
    document = json.loads((tmp_path / "m" / CONFIG).read_text())
    (tmp_path / "m" / CONFIG).write_text(json.dumps(document | {"mode": "multimodal"}))
    with pytest.raises(InputError, match=r"config\.json: .*a model without visual parts must be a classifier of mode audioonly"):
        read_config(tmp_path / "m")
    document = json.loads((tiny().adapted / CONFIG).read_text())
    del document["architecture"]["decoder_depth"]
    (tmp_path / "m" / CONFIG).write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"config\.json: .*a pretrained model needs architecture\.decoder_depth"):
        read_config(tmp_path / "m")


def test_folders_written_before_there_was_a_choice_have_both_modalities(tmp_path: Path) -> None:
    document = json.loads((tiny().adapted / CONFIG).read_text())
    del document["modalities"]
    (tmp_path / CONFIG).write_text(json.dumps(document))
    assert read_config(tmp_path).modalities == "av"
