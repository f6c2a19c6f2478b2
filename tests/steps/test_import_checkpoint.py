"""The command `import`: every kind of official checkpoint becomes a folder that computes the same, and the rest is refused."""

import json
import logging
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cavmae.cli import main
from cavmae.errors import InputError
from cavmae.models import CAVMAE, CAVMAEFT
from cavmae.models.cavmaeft import MODES
from cavmae.models.folder import read_config, read_model
from cavmae.storage import sha256_file
from cavmae.stores import open_store
from tests.models.filled import fill
from tests.models.official import SIZES, TOLD, adaptation_output, classifier, parallel, pretrained
from tests.models.test_mae_checkpoint import facebook_state
from tests.pushed import push_file
from tests.s3_service import S3Service
from tests.training.tiny import PARAMS, run_step, same_files, tiny, train

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def imported(folder: Path, state: Any, name: str = "audio_model.25.pth", **changes: Any) -> Path:
    """Save what the original would save, import it, and return the model folder."""
    folder.mkdir(exist_ok=True)
    (save_file if name.endswith(".safetensors") else torch.save)(state, folder / name)
    run_step("import", {"checkpoint": folder / name, "out": folder / "model"}, **(TOLD | changes))
    return folder / "model"


def inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(batch, SIZES["audio_length"], 128), torch.randn(batch, 3, SIZES["img_size"], SIZES["img_size"])


def equal_pretraining(source: CAVMAE, folder: Path) -> bool:
    _, model = read_model(folder)
    assert isinstance(model, CAVMAE)
    audio, image = inputs()
    results = []
    with torch.no_grad():
        for each in (source, model):
            torch.manual_seed(5)
            results.append([*each(audio, image), *each.forward_feat(audio, image)])
    return all(torch.equal(one, other) for one, other in zip(*results, strict=True))


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


def test_what_was_recognised_is_said_and_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        folder = imported(tmp_path, parallel(pretrained().half().state_dict()), "cav-mae-base-nonorm.pth", norm_pix_loss="false")
    assert "import: CAVMAE, 0.103 M parameters: " in caplog.text and "3 + 1 layers of width 24, decoder 2 x 16" in caplog.text
    assert "taken off every name: module." in caplog.text and "stored as float32, was float16" in caplog.text
    assert "from the parameters: 3 heads, 4 in the decoder, log-mel mean -5.081 and std 4.4849" in caplog.text
    config = read_config(folder)
    assert config.norm_pix_loss is False
    assert config.clip.model_dump() == {
        "window_s": 0.6,
        "frames": 10,
        "frame_size": 48,
        "frame_index": "official",
        "sample_rate": 16000,
    }
    assert (config.normalisation.mean, config.normalisation.std) == (-5.081, 4.4849)
    lineage = json.loads((folder / "lineage.json").read_text())
    assert (lineage["step"], lineage["dataset"], lineage["parents"]) == ("import", None, {})
    assert lineage["params"]["num_heads"] == 3 and lineage["code"]["sha256"]
    name = "cav-mae-base-nonorm.pth"
    assert lineage["checkpoint"] == {name: sha256_file(tmp_path / name)}
    assert all(value.dtype == torch.float32 for value in load_file(folder / "model.safetensors").values())


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    one = imported(tmp_path / "a", parallel(classifier().state_dict()))
    run_step("import", {"checkpoint": tmp_path / "a" / "audio_model.25.pth", "out": tmp_path / "b"}, **TOLD)
    assert same_files(one, tmp_path / "b") == []


def test_a_label_list_names_the_outputs(tmp_path: Path) -> None:
    rows = "".join(f'{index},/m/{index},"Label, {index}"\n' for index in range(7))
    (tmp_path / "labels.csv").write_text("index,mid,display_name\n" + rows)
    state = parallel(classifier(7).state_dict())
    folder = imported(tmp_path / "7", state, labels_csv=tmp_path / "labels.csv", single_label="false")
    labels = read_config(folder).labels or []
    assert (labels[6].mid, labels[6].display_name) == ("/m/6", "Label, 6")
    with pytest.raises(InputError, match=r"has 527 outputs, .*labels\.csv lists 7 labels"):
        imported(tmp_path / "527", parallel(classifier().state_dict()), labels_csv=tmp_path / "labels.csv")
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
        imported(tmp_path / "none", state, labels_csv=tmp_path / "nowhere.csv", single_label="false")


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


def test_the_output_never_takes_the_checkpoint_or_other_things_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    torch.save(parallel(classifier().state_dict()), folder / "official.pth")
    with pytest.raises(InputError, match=r"files: would be replaced as a whole, and .*official\.pth lies in it"):
        run_step("import", {"checkpoint": folder / "official.pth", "out": folder}, **TOLD)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InputError, match=r"photos: would be replaced as a whole, and holds 'a\.jpg'"):
        run_step("import", {"checkpoint": folder / "official.pth", "out": tmp_path / "photos"}, **TOLD)
    assert (folder / "official.pth").is_file() and (tmp_path / "photos" / "a.jpg").is_file()
    for _ in range(2):  # an earlier import is replaced
        run_step("import", {"checkpoint": folder / "official.pth", "out": tmp_path / "model"}, **TOLD)


def test_a_trained_model_and_a_project_are_not_replaced(tmp_path: Path) -> None:
    checkpoint = tmp_path / "official.pth"
    torch.save(parallel(classifier().state_dict()), checkpoint)

    def refused(out: Path, name: str) -> None:
        before = sorted(path.relative_to(out) for path in out.rglob("*"))
        with pytest.raises(InputError, match=rf"{out.name}: would be replaced as a whole, and holds '{name}', which no earlier"):
            run_step("import", {"checkpoint": checkpoint, "out": out}, **TOLD)
        assert sorted(path.relative_to(out) for path in out.rglob("*")) == before

    refused(Path(shutil.copytree(tiny().classifier(), tmp_path / "trained")), "curves.tsv")
    refused(Path(shutil.copytree(tiny().adapted, tmp_path / "adapted")), "config.json")  # the same three files
    project = tmp_path / "project"
    project.mkdir()
    for name in ("config.json", "main.py"):
        (project / name).write_text("{}")
    refused(project, "main.py")
    (project / "main.py").unlink()
    refused(project, "config.json")


def test_a_small_file_that_asks_for_a_huge_model_is_refused_by_name(tmp_path: Path) -> None:
    def wide(*names: str) -> dict[str, Tensor]:
        return {name: torch.zeros(1_000_000) for name in names}

    told = {"single_label": "true", "num_heads": 2}  # which divide the width
    state = dict(classifier().state_dict()) | wide("norm.weight", "norm_a.weight", "norm.bias")
    state |= {"pos_embed_a": torch.zeros(1, 1_000_000, 1)}
    with pytest.raises(InputError, match=r"pos_embed_a has shape \(1, 1000000, 1\), the model wants \(1, 1000000, 1000000\)"):
        imported(tmp_path, parallel(state), **told)
    state = dict(pretrained().state_dict()) | wide("decoder_norm.weight", "decoder_embed.bias")
    state |= {"pos_embed_v": torch.zeros(1, 1_000_000, 24)}
    with pytest.raises(InputError, match=r"decoder_pos_embed_a has shape \(1, 32, 16\), the model wants \(1, 32, 1000000\)"):
        imported(tmp_path, parallel(state))
    del state["decoder_pos_embed_a"]
    with pytest.raises(InputError, match=r"pth: missing decoder_pos_embed_a$"):
        imported(tmp_path, parallel(state))
    alone = dict(classifier(modalities="a").state_dict()) | wide("norm.weight", "norm_a.weight", "norm.bias")
    alone |= {"pos_embed_a": torch.zeros(1, 8, 1_000_000), "modality_a": torch.zeros(1, 1, 1_000_000)}
    with pytest.raises(InputError, match=r"norm\.weight has 1000000 values, .* no such model is that wide"):
        imported(tmp_path, parallel(alone), **told)
    assert not (tmp_path / "model").exists()


def test_a_window_that_does_not_fill_the_spectrogram_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    imported(tmp_path, parallel(classifier().state_dict()), window_s=10)
    assert "a clip of 10 s makes 1000 frames, the model takes 64; set window_s" in caplog.text
    caplog.clear()
    imported(tmp_path, parallel(classifier().state_dict()))
    assert "set window_s" not in caplog.text
    imported(tmp_path, parallel(classifier().state_dict()), window_s=0.3)
    assert "a clip of 0.3 s makes 30 frames" in caplog.text


def test_the_command_line_takes_one_file_and_odd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(parallel(classifier().state_dict()), "-dash ünï.pth")
    words = ["import", "--params", str(PARAMS), "--num-heads", "3", "--window-s", "0.6", "--out", "m o/del"]
    assert main([*words, "--", "-dash ünï.pth"]) == 0
    assert read_config(tmp_path / "m o" / "del").kind == "classifier"
    assert main([*words, "--", "nowhere.pth"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "cavmae import: nowhere.pth: no such file"


SAME: dict[str, Any] = {"num_heads": 2, "decoder_num_heads": 2, "num_mel_bins": 32, "window_s": 1.0}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


@pytest.mark.usefixtures("work")
def test_training_starts_from_an_imported_model(tmp_path: Path) -> None:
    source = tiny().pretrained
    start = imported(tmp_path / "start", parallel(load_file(source / "model.safetensors")), **SAME)
    assert read_config(start).architecture == read_config(source).architecture
    more = train("pretrain", tmp_path / "p", tiny().dataset, start, epochs=1, warmup_epochs=0)
    assert read_config(more).kind == "pretrained"
    tuned = train("finetune", tmp_path / "f", tiny().dataset, start, epochs=1, warmup_epochs=0, keep_epochs=0)
    assert read_config(tuned).labels == read_config(tiny().classifier()).labels
    lineage = json.loads((tuned / "lineage.json").read_text())
    assert lineage["parents"]["start"]["lineage"]["checkpoint"]["audio_model.25.pth"]


@pytest.mark.usefixtures("work")
def test_fine_tuning_goes_on_from_an_imported_classifier_and_knows_its_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels, weights = data_labels(tmp_path / "labels"), parallel(load_file(tiny().classifier() / "model.safetensors"))
    start = imported(tmp_path / "c", weights, labels_csv=labels, single_label="true", **SAME)
    with caplog.at_level(logging.INFO):
        train("finetune", tmp_path / "f", tiny().dataset, start, epochs=1, warmup_epochs=0, keep_epochs=0)
    assert "the head keeps 8 of 8 labels, 0 are new" in caplog.text
    with pytest.raises(InputError, match="is a classifier; pretraining starts from an adapted or pretrained model"):
        train("pretrain", tmp_path / "p", tiny().dataset, start)


def data_labels(folder: Path) -> Path:
    rows = [f"{n},{label.mid},{label.display_name}\n" for n, label in enumerate(read_config(tiny().classifier()).labels or ())]
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("index,mid,display_name\n" + "".join(rows))
    return folder / "labels.csv"


@pytest.mark.usefixtures("work")
def test_an_audio_only_model_predicts_and_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tiny().classifier("audioonly")
    config, whole = read_model(source)
    sizes = {key: value for key, value in config.architecture.model_dump().items() if not key.startswith("decoder_")}
    alone = CAVMAEFT(len(config.labels or ()), **sizes, modalities="a").state_dict()
    state = {key: value for key, value in whole.state_dict().items() if key in alone}
    told = SAME | {"mean": config.normalisation.mean, "std": config.normalisation.std, "single_label": "true"}
    model = imported(tmp_path / "a", parallel(state), labels_csv=data_labels(tmp_path / "a"), **told)

    def evaluate(out: Path, **models: Path) -> Any:
        folders: dict[str, Path | None] = dict.fromkeys(("model", "audio_model", "video_model", "pretrained", "curves"))
        outputs = {"metrics": out / "m.json", "plots": out / "plots", "report": out / "report.html"}
        run_step("evaluate", folders | {"dataset": tiny().dataset} | models | outputs, replicates=0)
        return json.loads((out / "m.json").read_text())["test"]["audio"]

    assert evaluate(tmp_path / "e1", audio_model=model) == evaluate(tmp_path / "e2", audio_model=source)
    with pytest.raises(InputError, match="is a model of sound alone, without visual parts; retrieval needs one of both"):
        evaluate(tmp_path / "e3", pretrained=model)
    film = next(iter(sorted((tiny().root / "data" / "ingest" / "sample").rglob("*.mp4"))))
    lines = []
    for folder in (model, source):
        (predicted,) = run_step("predict", {"videos": [film], "model": folder})  # type: ignore[dict-item]
        lines.append(predicted.scores)
    assert len(lines[0]) == 3 and lines[0] == lines[1]
    run_step("package", {"start": model, "metrics": tmp_path / "e1" / "m.json", "model": tmp_path / "final"})
    folders: dict[str, Any] = {"videos": [], "dataset": tiny().dataset, "model": model, "out": tmp_path / "features.npz"}
    run_step("embed", folders, modality="audio")
    assert (tmp_path / "features.npz").is_file()
    with pytest.raises(InputError, match="is a model of sound alone and has no video features"):
        run_step("embed", folders)
    more = train("finetune", tmp_path / "f", tiny().dataset, model, mode="audioonly", epochs=1, warmup_epochs=0, keep_epochs=0)
    assert read_config(more).modalities == "a"
    with pytest.raises(InputError, match="without visual parts; fine-tuning in mode multimodal needs one of both modalities"):
        train("finetune", tmp_path / "no", tiny().dataset, model)
    card = (tmp_path / "final" / "README.md").read_text()
    assert "of video: 16 kHz mono sound as 96 x 32 log-mel values" in card and "pictures of" not in card
