"""The tag of the images is what `make images` tags them with."""

import subprocess
import sys
from pathlib import Path

import pytest

from cavmae.errors import InputError
from pipelines.commit import image_tag
from tests.training.tiny import REPOSITORY


def test_it_is_the_one_that_the_build_gives() -> None:
    done = subprocess.run(
        [sys.executable, "docker/build.py", "--names"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"cavmae-data:{image_tag()}", f"cavmae-train:{image_tag()}"]


def test_without_git_the_settings_have_to_name_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--settings"):
        image_tag(tmp_path)
