"""The component `fetch`: a model folder, an official checkpoint, or the champion that comes before both."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from cavmae.models.folder import read_model
from components.fetching import fetch_model
from tests.components.test_running import settings
from tests.models.official import TOLD, pretrained
from tests.training.tiny import run_step, tiny

IMPORT = settings("import", *(f"{key}={value}" for key, value in TOLD.items()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fetched(source: Path | str, registry: str, model: Path) -> str:
    return fetch_model(str(source), registry, settings("fetch"), IMPORT, str(model))


def test_a_model_folder_is_brought_as_it_is(here: Path) -> None:
    assert fetched(tiny().pretrained, "", here / "m") == str(tiny().pretrained)
    assert (here / "m" / "model.safetensors").read_bytes() == (tiny().pretrained / "model.safetensors").read_bytes()


def test_an_official_checkpoint_is_imported(here: Path) -> None:
    source = pretrained()
    torch.save(source.state_dict(), here / "audio_model.25.pth")
    assert fetched(here / "audio_model.25.pth", "", here / "m").endswith("audio_model.25.pth")
    made, given = read_model(here / "m")[1].state_dict(), source.state_dict()
    assert all(bool((made[key] == given[key]).all()) for key in given)


def test_the_champion_comes_before_a_checkpoint(here: Path) -> None:
    folders = {"dataset": tiny().dataset, "candidate": tiny().classifier(), "decision": here / "decision.json"}
    for step in ("compare", "promote"):
        names = {"compare": ("dataset", "candidate", "decision"), "promote": ("candidate", "decision")}[step]
        run_step(step, {**{name: folders[name] for name in names}, "registry": here / "registry"})
    shutil.copyfile(tiny().pretrained / "model.safetensors", here / "x.pth")
    version = json.loads((here / "registry" / "champion.json").read_text())["version"]
    assert f"champion {version} " in fetched(here / "x.pth", str(here / "registry"), here / "m")


def test_neither_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        fetched("", str(here / "registry"), here / "m")
    assert caught.value.code == 2 and "fetch.source is not set" in capsys.readouterr().err
