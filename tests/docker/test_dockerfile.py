"""Rules of the Dockerfile and its scripts that no build would notice."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.training.tiny import REPOSITORY

FOLDER = REPOSITORY / "docker"
TEXT = (FOLDER / "Dockerfile").read_text()
LINES = re.sub(r"\\\n", " ", "\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#"))).splitlines()


def test_every_command_of_the_build_keeps_its_mounts_in_memory() -> None:
    """BuildKit leaves an empty file behind where something was mounted on the image itself."""
    runs = [line for line in LINES if line.startswith("RUN") and "--mount" in line]
    assert len(runs) >= 6
    for line in runs:
        assert line.startswith("RUN --mount=type=tmpfs,target=/mnt"), line
        targets = re.findall(r"target=(\S+?)(?:[, ]|$)", line)
        assert len(targets) == line.count("--mount=")
        assert all(target == "/mnt" or target.startswith("/mnt/") for target in targets)


def test_it_builds_with_debians_client_and_without_a_registry() -> None:
    assert "syntax=" not in TEXT.lower()
    assert not [line for line in LINES if re.match(r"(RUN|COPY).*<<", line) or "--link" in line or line.startswith("ADD")]
    sources = [line.split()[1] for line in LINES if line.startswith("FROM")]
    stages = [line.split()[3] for line in LINES if line.startswith("FROM")]
    assert sources[0] == "${BASE_IMAGE}"
    assert set(sources[1:]) <= set(stages)


def test_pins_of_the_data_image_stand_in_the_train_image_too() -> None:
    """The train image lies on the data image's layer; another version of a package there would lie in both."""
    pins = {
        target: {line for line in (REPOSITORY / "requirements" / f"image-{target}.txt").read_text().splitlines() if "==" in line}
        for target in ("data", "train")
    }
    assert len(pins["data"]) > 50
    assert pins["data"] <= pins["train"]
    assert not [pin for pin in pins["data"] if pin.startswith(("torch", "nvidia", "triton", "onnx"))]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_can_be_read_by_their_shells(path: Path) -> None:
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
    subprocess.run([shell, "-n", str(path)], check=True)
