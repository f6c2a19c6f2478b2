"""The command `import`: every kind of official checkpoint becomes a folder that computes the same."""

import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cavmae.cli import main
from cavmae.models import CAVMAE, CAVMAEFT
from cavmae.models.cavmaeft import MODES
from cavmae.models.folder import read_config, read_model
from cavmae.stores import open_store
from tests.models.filled import fill
from tests.models.official import SIZES, TOLD, adaptation_output, classifier, parallel, pretrained
from tests.pushed import push_file
from tests.s3_service import S3Service
from tests.steps.importing import CLOSE, equal_pretraining, imported, inputs
from tests.training.tiny import PARAMS, run_step, same_files


@pytest.mark.parametrize("kind", ["parallel", "bare", "model", "state_dict", "safetensors", "adaptation", "legacy", "twice"])
def test_a_pretrained_model_computes_the_same_to_the_bit_however_it_was_saved(tmp_path: Path, kind: str) -> None:
    source = pretrained()
    state = source.state_dict()
    name = "weights.safetensors" if kind == "safetensors" else "audio_model.21.pth"
    saved: Any = {
        "bare": state,
        "model": {"model": state, "epoch": 3},
        "state_dict": {"state_dict": parallel(state)},
        "adaptation": adaptation_output(dict(state)),
        "twice": parallel(parallel(state)),
    }.get(kind, parallel(state))
    if kind == "legacy":
        torch.save(saved, tmp_path / name, _use_new_zipfile_serialization=False)
        run_step("import", {"checkpoint": tmp_path / name, "out": tmp_path / "model"}, **TOLD)
    else:
        imported(tmp_path, saved, name)
    config = read_config(tmp_path / "model")
    assert config.kind == "pretrained" and config.norm_pix_loss is True and config.modalities == "av"
    wanted = SIZES | {"decoder_embed_dim": 16, "decoder_depth": 2, "decoder_num_heads": 4, "num_mel_bins": 128, "mlp_ratio": 4}
    assert config.architecture.model_dump() == wanted | {"patch_size": 16, "audio_patch_size": 16}
    assert equal_pretraining(source, tmp_path / "model")


@pytest.mark.parametrize("labels", [527, 309, 7])
def test_a_fine_tuned_model_computes_the_same_in_all_five_modes(tmp_path: Path, labels: int) -> None:
    source = classifier(labels)
    changes = {"single_label": "true"} if labels == 7 else {}
    folder = imported(tmp_path, parallel(source.state_dict()), "audio_model_wa.pth", **changes)
    config, model = read_model(folder)
    assert isinstance(model, CAVMAEFT)
    assert config.mode == "multimodal" and config.single_label is (labels != 527) and config.norm_pix_loss is None
    assert [label.mid for label in config.labels or ()] == [str(index) for index in range(labels)]
    assert config.architecture.decoder_depth is None, "a fine-tuned checkpoint says nothing of a decoder"
    audio, image = inputs()
    with torch.no_grad():
        for mode in MODES:
            assert torch.equal(model(audio, image, mode), source(audio, image, mode)), mode


def test_an_audio_only_model_has_no_visual_parts_and_computes_the_same(tmp_path: Path) -> None:
    source = classifier(527, modalities="a")
    config, model = read_model(imported(tmp_path, parallel(source.state_dict())))
    assert isinstance(model, CAVMAEFT)
    assert (config.modalities, config.mode, config.architecture.img_size) == ("a", "audioonly", 224)
    assert not [key for key in model.state_dict() if key.startswith(("patch_embed_v", "blocks_v", "modality_v", "norm_v"))]
    audio, image = inputs()
    with torch.no_grad():
        assert torch.equal(model(audio, None, "audioonly"), source(audio, None, "audioonly"))
        for mode in ("multimodal", "videoonly", "missingvideoonly"):
            with pytest.raises(ValueError, match="the model has no visual parts"):
                model(audio, image, mode)


def test_the_golden_pretrained_state_gives_the_official_latents(tmp_path: Path, golden: Path) -> None:
    folder = golden / "cavmae"
    state, expected = load_file(folder / "tiny_state.safetensors"), load_file(folder / "tiny_expected.safetensors")
    batch = load_file(folder / "tiny_inputs.safetensors")
    _, model = read_model(imported(tmp_path, parallel(state), num_heads=4, window_s=10))
    assert isinstance(model, CAVMAE)
    audio, image = batch["audio"].float(), batch["image"].float()
    noise = {"noise_a": expected["noise_a"], "noise_v": expected["noise_v"]}
    with torch.no_grad():
        latent = model.forward_encoder(audio, image, 0.75, 0.75, **noise)[0]
        pred_a, pred_v = model.forward_inpaint(audio, image, **noise)[:2]
    torch.testing.assert_close(latent, expected["unstructured/latent"], **CLOSE)
    torch.testing.assert_close(pred_a[:, ::16, ::8], expected["unstructured/pred_a_strided"], **CLOSE)
    torch.testing.assert_close(pred_v[:, ::7, ::16], expected["unstructured/pred_v_strided"], **CLOSE)


def test_the_golden_classifier_gives_the_official_logits_also_without_its_visual_parts(
    tmp_path: Path, golden: Path, formula: ModuleType
) -> None:
    sizes = json.loads((golden / "cavmae_ft" / "expected.json").read_text())["configs"]["msd11"]
    expected = load_file(golden / "cavmae_ft" / "expected.safetensors")
    batch = load_file(golden / "cavmae" / "tiny_inputs.safetensors")
    audio, image = batch["audio"].float(), batch["image"].float()
    state = fill(CAVMAEFT(**sizes), formula, keep=()).state_dict()
    sound = fill(CAVMAEFT(**sizes, modalities="a"), formula, keep=()).state_dict()
    told = {"num_heads": 4, "single_label": "false", "window_s": 10}
    _, model = read_model(imported(tmp_path / "both", parallel(state), **told))
    _, alone = read_model(imported(tmp_path / "sound", parallel(sound), **told))
    assert isinstance(model, CAVMAEFT) and isinstance(alone, CAVMAEFT)
    with torch.no_grad():
        for mode in MODES:
            torch.testing.assert_close(model(audio, image, mode), expected[f"msd11/{mode}"], **CLOSE)
        torch.testing.assert_close(alone(audio, None, "audioonly"), expected["msd11/audioonly"], **CLOSE)


def test_the_golden_output_of_the_adaptation_script_is_read(
    tmp_path: Path, golden: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = load_file(golden / "adapt" / "tiny_cavmae_output.safetensors")
    with caplog.at_level(logging.INFO):
        folder = imported(tmp_path, state, num_heads=4, decoder_num_heads=2, window_s=2.5)
    assert "left out, the model has no use for them: cls_token_a, cls_token_v, cls_token_av" in caplog.text
    _, model = read_model(folder)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_what_export_writes_for_the_original_comes_back(tmp_path: Path) -> None:
    sizes = {"embed_dim": 16, "num_heads": 2, "depth": 12, "modality_specific_depth": 11}
    for source, name in (
        (pretrained(**sizes), "p"),
        (classifier(5, **sizes), "c"),
        (classifier(5, modalities="a", **sizes), "a"),
    ):
        told = {"num_heads": 2} | ({} if name == "p" else {"single_label": "true"})
        first = imported(tmp_path / name, parallel(source.state_dict()), **told)
        run_step("export", {"model": first, "out": tmp_path / name / "out"}, format="official")
        checkpoint = tmp_path / name / "out" / "audio_model.pth"
        if name != "p":
            told["labels_csv"] = checkpoint.with_name("class_labels_indices.csv")
        run_step("import", {"checkpoint": checkpoint, "out": tmp_path / name / "again"}, **(TOLD | told))
        assert same_files(first, tmp_path / name / "again") == ["lineage.json"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CAVMAE", "CAVMAEFT_527", "CAVMAEFT_309", "CAVMAEFTAudio_527"])
def test_a_file_of_the_published_size_is_read_with_the_defaults(tmp_path: Path, golden: Path, name: str) -> None:
    facts = json.loads((golden / "inventory" / "cavmae.json").read_text())[name]
    torch.manual_seed(0)
    state = {key: torch.randn(shape) for key, shape, _ in facts["state"]}
    torch.save(parallel(state), tmp_path / "official.pth")
    run_step("import", {"checkpoint": tmp_path / "official.pth", "out": tmp_path / "model"})
    _, model = read_model(tmp_path / "model")
    assert sum(parameter.numel() for parameter in model.parameters()) == facts["n_params"]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_checkpoint_on_s3_or_a_dvc_remote_becomes_the_same_model(
    tmp_path: Path, s3_server: S3Service, capsys: pytest.CaptureFixture[str]
) -> None:
    here = imported(tmp_path / "here", parallel(pretrained().state_dict()))
    checkpoint = tmp_path / "here" / "audio_model.25.pth"
    place = f"s3://{s3_server.bucket()}/weights"
    open_store(place).put(checkpoint.name, checkpoint)
    told = [word for key, value in TOLD.items() for word in ("--set", f"{key}={value}")]
    words = ["import", "--params", str(PARAMS), *told, "--out", str(tmp_path / "there")]
    assert main([*words, f"{place}/{checkpoint.name}"]) == 0
    assert same_files(here, tmp_path / "there") == [], "the lineage too: the checkpoint stands there by name and hash"
    for remote in (place, str(tmp_path / "remote")):
        assert main([*words, push_file(remote, checkpoint.read_bytes())]) == 0
        assert same_files(here, tmp_path / "there") == ["lineage.json"]
    capsys.readouterr()
    open_store(place).write("page.pth", b"<!DOCTYPE html>")
    for name, said in (("page.pth", "it is a web page"), ("absent.pth", "no such file")):
        assert main([*words, f"{place}/{name}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"cavmae import: {place}/{name}: ") and said in line
