"""The trained project that the tests copy."""

import os
import shutil
from pathlib import Path

import pytest

from tests.dvc.project import run, trained


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, at a clean commit of everything."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    copy = tmp_path / "project"
    shutil.copytree(trained(shared / "trained-project"), copy, symlinks=True)
    assert run(copy, "git", "status", "--porcelain") == ""
    return copy
