"""Fixtures that many tests share."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and real media; tests that need it skip where it is not."""
    folder = Path(os.environ.get("CAVMAE_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no golden numbers or real media at {folder}; set CAVMAE_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The folder of golden numbers."""
    return shared / "golden"


@pytest.fixture(scope="session")
def formula(golden: Path) -> ModuleType:
    """The deterministic fill of the golden fixtures: `fill`, `inp`, `u01`."""
    spec = importlib.util.spec_from_file_location("fill_formula", golden / "fill_formula.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
