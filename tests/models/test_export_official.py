"""The original's checkpoint format: names, bytes, and what is said beside the weights."""

import json
from pathlib import Path

import pytest
import torch

from cavmae.dataset.labels import read_labels
from cavmae.errors import InputError, StepFailed
from cavmae.models.export_official import check_official, official_facts, write_official
from cavmae.models.folder import ModelConfig
from tests.models.exported import LABELS, config, network

OFFICIAL = {"depth": 12, "modality_specific_depth": 11, "num_mel_bins": 128, "decoder_depth": 8}


@pytest.mark.parametrize(("mode", "name"), [(None, "CAVMAE"), ("multimodal", "CAVMAEFT_527")])
def test_the_names_are_those_of_the_published_checkpoints(golden: Path, tmp_path: Path, mode: str | None, name: str) -> None:
    shape = config(mode, **OFFICIAL)
    model = network(shape)
    check_official(shape, Path("m"))
    path = write_official(tmp_path, shape, model.state_dict())[0]
    read = torch.load(path, weights_only=True)
    inventory = json.loads((golden / "inventory" / "cavmae.json").read_text())[name]["state"]
    assert sorted(read) == sorted(f"module.{key}" for key, *_ in inventory)
    assert all(torch.equal(read[f"module.{key}"], value) for key, value in model.state_dict().items())


def test_equal_weights_give_equal_bytes_in_any_folder(tmp_path: Path) -> None:
    shape = config()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_official(tmp_path / folder, shape, network(shape).state_dict())
    for name in ("audio_model.pth", "class_labels_indices.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_labels_stand_in_the_originals_csv(tmp_path: Path) -> None:
    _, labels = write_official(tmp_path, config(), {"x": torch.zeros(1)})
    assert labels.read_text().splitlines()[:2] == ["index,mid,display_name", '0,/m/1,"Dog, barking"']
    assert [label.display_name for label in read_labels(labels)] == [label["display_name"] for label in LABELS]


@pytest.mark.parametrize(
    ("key", "value", "known"),
    [("depth", 11, 12), ("num_mel_bins", 64, 128), ("patch_size", 8, 16), ("audio_patch_size", 32, 16)],
)
def test_what_the_original_cannot_be_is_refused_by_name(key: str, value: int, known: int) -> None:
    odd = config(**(OFFICIAL | {key: value}))
    with pytest.raises(InputError, match=rf"m: architecture\.{key} is {value}, and the original's code knows only {known}"):
        check_official(odd, Path("m"))


def test_the_facts_build_the_class_and_name_what_its_scripts_do_otherwise() -> None:
    base = {"img_size": 224, "audio_length": 1024, "embed_dim": 768, "num_heads": 12, "mlp_ratio": 4.0}
    decoder = {"decoder_embed_dim": 512, "decoder_num_heads": 16}
    pretrained = official_facts(config(None, **OFFICIAL, **base, **decoder), {})
    assert pretrained["class"] == "models.CAVMAE" and pretrained["arguments"]["norm_pix_loss"] and pretrained["mind"] == []
    assert pretrained["options"] == {"dataset_mean": -6.0, "dataset_std": 4.0, "target_length": 1024, "norm_pix_loss": True}

    multimodal = {"patch_embed_v.proj.bias": torch.zeros(1)}
    facts = official_facts(config("audioonly", single_label=False, **OFFICIAL, **(base | {"audio_length": 512})), multimodal)
    assert facts["class"] == "models.CAVMAEFT" and facts["arguments"]["label_dim"] == facts["options"]["n_class"] == 3
    assert facts["options"]["loss"] == "BCE" and facts["options"]["ftmode"] == "audioonly"
    assert "decoder_depth" not in facts["arguments"] and "give the class audio_length as under" in facts["mind"][0]
    assert official_facts(config("audioonly", **OFFICIAL), {})["class"] == "models.CAVMAEFTAudio"

    odd = config(**OFFICIAL).model_dump()
    odd["clip"]["sample_rate"], odd["labels"][0]["mid"] = 22050, "a,b"
    mind = official_facts(ModelConfig.model_validate(odd), multimodal)["mind"]
    assert "embed_dim, img_size" in mind[0] and "22050 Hz" in mind[1] and "comma" in mind[2]


def test_a_full_disk_fails_in_one_line(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StepFailed, match="is the disk full") as caught:
            write_official(tmp_path, config(None), {"w": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
