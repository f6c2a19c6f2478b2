"""The bill of materials of both images: all that is pinned, and Debian's packages; the same bytes each time."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cavmae import __version__
from tests.docker.conftest import Engine
from tests.training.tiny import REPOSITORY

pytestmark = pytest.mark.docker
Image = Callable[[str], str]


def write(folder: Path, *targets: str) -> None:
    words = [sys.executable, str(REPOSITORY / "docker" / "sbom.py"), "--out", str(folder), *targets]
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def bills(engine: Engine, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for target in ("data", "train"):
        image(target)
    folder = tmp_path_factory.mktemp("sbom")
    write(folder)
    return folder


def read(bills: Path, target: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((bills / f"cavmae-{target}.cdx.json").read_text())
    return document


@pytest.mark.parametrize("target", ["data", "train"])
def test_it_names_every_pin_with_its_version(bills: Path, target: str) -> None:
    lines = (REPOSITORY / "requirements" / f"image-{target}.txt").read_text().splitlines()
    pins = {line for line in lines if "==" in line}
    purls = {component.get("purl", "").partition("?")[0] for component in read(bills, target)["components"]}
    named = {
        purl.removeprefix("pkg:pypi/").replace("@", "==").replace("ruamel.yaml", "ruamel-yaml")
        for purl in purls
        if purl.startswith("pkg:pypi/")
    }
    assert len(pins) > 50
    assert pins - named == set()
    assert named - pins == set()


@pytest.mark.parametrize("target", ["data", "train"])
def test_it_names_the_image_the_interpreter_and_debians_packages(bills: Path, image: Image, engine: Engine, target: str) -> None:
    document = read(bills, target)
    subject = document["metadata"]["component"]
    assert (subject["type"], f"{subject['name']}:{subject['version']}") == ("container", image(target))
    identifier = engine.ask("image", "inspect", "--format", "{{.Id}}", image(target)).stdout.strip()
    assert {"name": "image:id", "value": identifier} in subject["properties"]
    versions = {component["name"]: component["version"] for component in document["components"]}
    ours = next(component for component in document["components"] if component["name"] == "cavmae")
    assert ours["purl"] == f"pkg:generic/cavmae@{__version__}"
    assert ours["properties"] == [{"name": "git:commit", "value": image(target).partition(":")[2]}]
    assert versions["cpython"].startswith("3.11.")
    assert versions["tini"].startswith("0.19.0-1")
    assert {"libc6", "openssl"} <= set(versions)
    assert ("torch" in versions) == (target == "train")


def test_the_same_image_gives_the_same_bytes(bills: Path, tmp_path: Path) -> None:
    write(tmp_path, "data")
    assert [path.name for path in tmp_path.iterdir()] == ["cavmae-data.cdx.json"]
    assert (tmp_path / "cavmae-data.cdx.json").read_bytes() == (bills / "cavmae-data.cdx.json").read_bytes()
