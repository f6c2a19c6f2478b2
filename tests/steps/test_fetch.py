"""The step `fetch`: the champion where there is one, else the model that is given, from wherever it lies; whole or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cavmae.cli import main
from cavmae.errors import InputError
from cavmae.models.fetching import ORIGIN
from cavmae.storage import sha256_file
from cavmae.stores import open_store
from tests.models.promoting import keep_connections, put, version
from tests.pushed import push_folder, push_list
from tests.s3_service import S3Service
from tests.training.tiny import arguments, run_step, same_files, tiny

NEEDED = {"config.json", "lineage.json", "model.safetensors"}


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    keep_connections(monkeypatch)


def fetch(model: Path, registry: str | None = None, source: str | Path | None = None) -> str:
    said: str = run_step("fetch", {"registry": registry, "model": model}, source=source)
    return said


def upload(folder: Path, place: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            open_store(place).put(path.relative_to(folder).as_posix(), path)
    return place


def somewhere(kind: str, folder: Path, tmp_path: Path, service: Callable[[], S3Service]) -> str:
    """Put a model folder where a user may have it; return its location."""
    if kind == "folder":
        return str(shutil.copytree(folder, tmp_path / "source"))
    if kind == "dvc folder":
        return push_folder(str(tmp_path / "remote"), folder)
    place = f"s3://{service().bucket()}/models/one"
    return upload(folder, place) if kind == "s3" else push_folder(place, folder)


@pytest.fixture(params=["folder", "s3", "dvc folder", "dvc s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], str]:
    return lambda folder: somewhere(request.param, folder, tmp_path, lambda: request.getfixturevalue("s3_server"))


def test_a_model_folder_comes_from_anywhere_without_the_weights_of_its_epochs(
    tmp_path: Path, source: Callable[[Path], str]
) -> None:
    given = shutil.copytree(tiny().classifier(), tmp_path / "given")
    (given / "README.md").write_text("card")
    (given / "run.json").write_text("{}")
    location = source(given)
    assert fetch(tmp_path / "model", source=location) == location
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == NEEDED | {"README.md", "curves.tsv", ORIGIN} and (given / "epochs").is_dir()
    assert not (names - {ORIGIN}) & set(same_files(given, tmp_path / "model"))
    note = json.loads((tmp_path / "model" / ORIGIN).read_text())
    assert note["origin"] == location and note["files"]["model.safetensors"] == sha256_file(given / "model.safetensors")


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_the_champion_goes_before_what_is_given(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = str(tmp_path / "registry")
    if kind == "s3":
        registry = f"s3://{request.getfixturevalue('s3_server').bucket()}/registry"
    given, first, second = tiny().adapted, tiny().classifier("audioonly"), tiny().pretrained
    words = ["--registry", registry, "--source", str(given), "--model", str(tmp_path / "model")]
    assert main([*arguments("fetch"), *words]) == 0
    assert capsys.readouterr().out == f"{given}\n", "no champion yet"
    for champion, against, run in ((first, None, "one"), (second, first, "two")):
        put(registry, champion, against, run)
        assert main([*arguments("fetch"), *words]) == 0
        assert capsys.readouterr().out == f"champion {version(champion)} of {registry}\n"
        assert not NEEDED & set(same_files(champion, tmp_path / "model"))


def test_without_anything_to_bring_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no registry is given, and fetch\.source is not set; name a model folder there"):
        fetch(tmp_path / "model")
    with pytest.raises(InputError, match=r"registry has no champion yet, and fetch\.source is not set"):
        fetch(tmp_path / "model", registry=str(tmp_path / "registry"))
    assert not list(tmp_path.glob("model*"))


def test_training_starts_from_what_was_brought(tmp_path: Path) -> None:
    fetch(tmp_path / "model", source=tiny().pretrained)
    folders = {"dataset": tiny().dataset, "start": tmp_path / "model", "model": tmp_path / "out"}
    run_step("finetune", {**folders, "curves": tmp_path / "c.tsv", "events": tmp_path / "e"}, epochs=1, warmup_epochs=0)
    start = json.loads((tmp_path / "out" / "lineage.json").read_text())["parents"]["start"]
    assert start["files"]["model.safetensors"] == sha256_file(tiny().pretrained / "model.safetensors")
    assert start["lineage"]["step"] == "pretrain", "the lineage tells of the step that made the model, not of the transport"


def test_a_second_run_replaces_what_the_first_brought_and_nothing_else(tmp_path: Path) -> None:
    model = tmp_path / "model"
    fetch(model, source=tiny().adapted)
    first = (model / "model.safetensors").read_bytes()
    fetch(model, source=tiny().pretrained)
    assert (model / "model.safetensors").read_bytes() != first
    refused = "would be replaced as a whole.*no earlier `cavmae fetch` wrote"
    (model / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=refused):
        fetch(model, source=tiny().adapted)
    (model / "notes.txt").unlink()
    # a model that was trained into the same folder afterwards, and one that never came from elsewhere
    shutil.copyfile(tiny().adapted / "model.safetensors", model / "model.safetensors")
    trained = shutil.copytree(tiny().adapted, tmp_path / "trained")
    for folder in (model, trained):
        before = (folder / "model.safetensors").read_bytes()
        with pytest.raises(InputError, match=refused):
            fetch(folder, source=tiny().pretrained)
        assert (folder / "model.safetensors").read_bytes() == before


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    given = shutil.copytree(tiny().adapted, tmp_path / "given")
    for model in (given, tmp_path, given / "below"):
        with pytest.raises(InputError, match=r"is an input|lies in"):
            fetch(model, source=given)
    assert same_files(given, tiny().adapted) == []


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _another_shape(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({**state, "cls": torch.ones(3)}, folder / "model.safetensors")


def _no_lineage(folder: Path) -> None:
    (folder / "lineage.json").write_text("[]")


def _hostile_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["architecture"]["embed_dim"] = "../../etc"
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_without_weights, r"not a model folder, model\.safetensors is missing"),
        (_cut, r"model\.safetensors: not a readable safetensors file"),
        (_another_shape, r"model\.safetensors: the weights do not fit the model: unexpected cls"),
        (_no_lineage, r"lineage\.json: does not say which step made the model"),
        (_hostile_config, r"config\.json: key 'architecture\.embed_dim'"),
    ],
)
def test_what_is_no_whole_model_is_refused_and_the_earlier_one_stays(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    given = shutil.copytree(tiny().adapted, tmp_path / "given")
    fetch(tmp_path / "model", source=given)
    damage(given)
    with pytest.raises(InputError, match=f"^{given}.*{words}") as raised:
        fetch(tmp_path / "model", source=given)
    assert "\n" not in str(raised.value) and ".partial" not in str(raised.value)
    assert "model.safetensors" not in same_files(tmp_path / "model", tiny().adapted)
    assert not list(tmp_path.glob("*.partial"))


def test_a_champion_that_was_changed_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "registry", tiny().adapted, None, "one")
    (weights,) = (tmp_path / "registry" / "versions").glob("*/model.safetensors")
    weights.chmod(0o644)
    shutil.copyfile(tiny().pretrained / "model.safetensors", weights)
    with pytest.raises(InputError, match=r"its model\.safetensors is not what was promoted; restore the folder"):
        fetch(tmp_path / "model", registry=str(tmp_path / "registry"))
    assert not (tmp_path / "model").exists()


def test_places_that_hold_no_model_are_told_in_one_line(
    tmp_path: Path, s3_server: S3Service, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"1")
    bucket = f"s3://{s3_server.bucket()}"
    for place, words in (
        ("/nowhere", "not a model folder, config.json is missing"),
        (str(tmp_path / "weights.pth"), "`cavmae import` makes one of a checkpoint"),
        (f"{bucket}/models", "not a model folder, config.json is missing"),
        ("s3://t-no-such-bucket/models", "there is no such bucket"),
        ("gs://bucket/models", "is no place for files"),
        (push_list(bucket, [{"md5": "0" * 32, "relpath": "../config.json"}]), "'../config.json' is no name of a file"),
        (push_list(bucket, [{"md5": "0" * 32, "relpath": "config.json"}]), "no such file"),
    ):
        assert main([*arguments("fetch"), "--registry", "none", "--source", place, "--model", str(tmp_path / "m")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("cavmae fetch: ") and words in line
        assert place.split("/")[2 if "://" in place else 1] in line
    assert not (tmp_path / "m").exists()
