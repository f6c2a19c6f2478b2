"""The command `export`: a folder that another program can use, or one line that says why there is none."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from cavmae.cli import main
from cavmae.dataset.loader import ClipSet
from cavmae.dataset.records import decode_frame, decode_waveform, frame_count
from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.inference import predict_clips
from cavmae.models import onnx_file
from cavmae.models.files import WEIGHTS
from cavmae.models.folder import read_model, write_model
from cavmae.storage import sha256_file
from tests.models.exported import config, network
from tests.training.tiny import arguments, run_step, same_files, tiny

OFFICIAL = {"depth": 12, "num_mel_bins": 128}


def exported(out: Path, model: Path | None = None, **changes: object) -> Path:
    run_step("export", {"model": model or tiny().classifier(), "out": out}, **changes)
    return out


def model_folder(path: Path, **sizes: int) -> Path:
    shape = config("videoonly", **sizes)
    write_model(path, shape, network(shape).state_dict(), {"format": 1, "step": "test"})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a small classifier of pictures."""
    return model_folder(tmp_path / "model")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The folder of a classifier that the original can represent."""
    return model_folder(tmp_path / "official", **OFFICIAL)


def test_a_graph_scores_clips_of_a_data_set_as_the_model_folder_does(tmp_path: Path) -> None:
    out = exported(tmp_path / "out")
    assert {path.name for path in out.iterdir()} == {"model.onnx", "export.json", "lineage.json"}
    facts = json.loads((out / "export.json").read_text())
    assert facts["format"] == "onnx" and facts["files"] == {"model.onnx": sha256_file(out / "model.onnx")}
    assert facts["onnx"]["mode"] == "multimodal" and len(facts["onnx"]["labels"]) == 8
    assert facts["onnx"]["source"][WEIGHTS] == sha256_file(tiny().classifier() / WEIGHTS)
    assert [(port["name"], port["type"]) for port in facts["onnx"]["inputs"]] == [
        ("waveform", "int16"),
        ("lengths", "int64"),
        ("frames", "uint8"),
    ]
    lineage = json.loads((out / "lineage.json").read_text())
    assert {"torch", "onnx", "onnxscript"} <= set(lineage["packages"])
    assert lineage["step"] == "export" and lineage["parents"]["model"]["lineage"]["step"] == "finetune"

    # as a program would that has only the folder: whole waveforms, and the picture in the middle
    clips = ClipSet(tiny().dataset).split("test")[:4]
    members = [clip.members() for clip in clips]
    waves = [decode_waveform(member) for member in members]
    side = facts["onnx"]["image"]["size"]
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["cavmae.labels"]) == facts["onnx"]["labels"] and properties["cavmae.sample_rate"] == "16000"
    waveform = np.zeros((4, max(map(len, waves))), np.int16)
    for row, wave in enumerate(waves):
        waveform[row, : len(wave)] = wave
    given = {
        "waveform": waveform,
        "lengths": np.array([len(wave) for wave in waves]),
        "frames": np.stack([decode_frame(member, frame_count(member) // 2, side) for member in members]),
    }
    scores = session.run(["scores"], given)[0]
    shape, model = read_model(tiny().classifier())
    want = predict_clips(model, shape, clips, "multimodal", "middle", 4, torch.device("cpu"))
    np.testing.assert_allclose(scores, want, atol=1e-4, rtol=0)  # float32 in another order; probabilities


def test_the_originals_checkpoint_holds_the_weights_and_equal_exports_equal_bytes(official: Path, tmp_path: Path) -> None:
    out = exported(tmp_path / "out", official, format="official")
    assert {path.name for path in out.iterdir()} == {
        *("audio_model.pth", "class_labels_indices.csv", "export.json", "lineage.json"),
    }
    read = torch.load(out / "audio_model.pth", weights_only=True)
    own = read_model(official)[1].state_dict()
    assert list(read) == [f"module.{key}" for key in own]
    assert all(torch.equal(read[f"module.{key}"], value) for key, value in own.items())
    facts = json.loads((out / "export.json").read_text())
    assert facts["official"]["class"] == "models.CAVMAEFT" and facts["official"]["arguments"]["label_dim"] == 3
    assert same_files(out, exported(tmp_path / "again", official, format="official")) == []


def test_equal_exports_as_onnx_give_equal_folders_and_replace_earlier_ones(folder: Path, official: Path, tmp_path: Path) -> None:
    out = exported(tmp_path / "out", official, format="official")
    exported(out, folder, features="outside")
    assert same_files(out, exported(tmp_path / "again", folder, features="outside")) == []
    assert not (out / "audio_model.pth").exists()


def export(capsys: pytest.CaptureFixture[str], model: Path, out: Path, **changes: object) -> tuple[int, str]:
    code = main([*arguments("export", **changes), "--model", str(model), "--out", str(out)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err.removeprefix("cavmae export: ").removesuffix("\n")


def test_a_model_that_the_original_cannot_represent_is_refused_by_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, error = export(capsys, tiny().pretrained, tmp_path / "out", format="official")
    assert code == 2 and error == (
        f"{tiny().pretrained}: architecture.depth is 2, and the original's code knows only 12; export with format=onnx"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, error = export(capsys, tiny().pretrained, tmp_path / "out")
    assert code == 2 and error == f"format=onnx needs {package}, not installed here; install with `pip install {package}`"


def test_what_cannot_be_exported_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    out = tmp_path / "out"
    assert export(capsys, tmp_path / "nowhere", out) == (2, f"{tmp_path / 'nowhere'}: no such model folder")
    code, error = export(capsys, folder, out, mode="audioonly")
    assert code == 2 and error == "mode is 'audioonly', which this model was not trained for; it can be videoonly"
    code, error = export(capsys, folder, out, mode="videoonly", format="official")
    assert code == 2 and "has no mode: leave mode null, or export with format=onnx" in error
    code, error = export(capsys, folder, out, opset=17)
    assert code == 2 and "parameter 'export.opset' is 17; input should be greater than or equal to 18" in error
    (folder / WEIGHTS).write_bytes(b"damaged")
    code, error = export(capsys, folder, out)
    assert code == 2 and "not a readable safetensors file" in error and "\n" not in error
    assert not out.exists()


def test_nothing_but_an_earlier_export_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, error = export(capsys, folder, folder)
    assert code == 2 and error == f"{folder}: is an input, and would be replaced; name another place with --out"
    assert read_model(folder)[0].kind == "classifier"
    (tmp_path / "file").write_text("mine")
    code, error = export(capsys, folder, tmp_path / "file")
    assert code == 2 and f"{tmp_path / 'file'}: is a file or a link" in error
    code, error = export(capsys, folder, tmp_path / "file" / "below")
    assert code == 2 and f"cannot be made, {tmp_path / 'file'} is not a folder that can be written to" in error
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "link").symlink_to(folder)
    assert export(capsys, folder, tmp_path / "link")[0] == 2
    code, error = export(capsys, folder, folder / "out")
    assert code == 2 and f"{folder / 'out'}: lies in {folder}, an input" in error


def test_a_folder_with_ones_own_files_beside_an_earlier_export_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], official: Path
) -> None:
    out = exported(tmp_path / "out", official, format="official")
    (out / "notes.txt").write_text("mine")
    code, error = export(capsys, official, out, format="official")
    told = f"{out}: would be replaced as a whole, and holds 'notes.txt', which no earlier `cavmae export` wrote"
    assert (code, error) == (2, f"{told}; name another folder with --out")
    assert (out / "notes.txt").read_text() == "mine"
    project = tmp_path / "project"
    project.mkdir()
    (project / "export.json").write_text("{}")
    assert export(capsys, official, project, format="official")[0] == 2


def test_a_folder_that_may_not_be_written_to_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (tmp_path / "locked").mkdir()
    access = os.access  # root may write everywhere, so that the mode of a folder proves nothing
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))
    code, error = export(capsys, folder, tmp_path / "locked" / "out")
    assert code == 2 and f"{tmp_path / 'locked'} is not a folder that can be written to" in error


def test_a_graph_that_disagrees_with_torch_leaves_the_earlier_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    out = exported(tmp_path / "out", folder, features="outside")
    before = shutil.copytree(out, tmp_path / "before")
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(StepFailed, match=r"model\.onnx: 'scores' differs from torch by .* nothing was kept; try another opset"):
        exported(out, folder, features="outside")
    assert same_files(out, before) == [] and sorted(path.name for path in tmp_path.iterdir()) == ["before", "model", "out"]


def test_names_of_folders_are_only_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], official: Path
) -> None:
    official.rename(tmp_path / "-m ö")
    monkeypatch.chdir(tmp_path)
    code = main([*arguments("export", format="official"), "--model=-m ö", "--out=-sp ace Ü/deep"])
    assert code == 0, capsys.readouterr().err
    assert (tmp_path / "-sp ace Ü" / "deep" / "audio_model.pth").is_file()


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, official: Path) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="the current folder lies in it"):
        exported(Path(), official, format="official")
