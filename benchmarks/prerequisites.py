"""What a benchmark needs beside this repository; each thing that is missing is named, with exit code 2."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.turns import ROOT
from cavmae.errors import InputError

CHECKOUT, PYTHON = "CAVMAE_REFERENCE", "CAVMAE_REFERENCE_PYTHON"
_ENVIRONMENT = ROOT / ".venv-reference" / "bin" / "python"
TIMM = {"timm": "0.4.5", "torch": None, "torchvision": None}
LOADER = {"torch": None, "torchaudio": None, "torchvision": None, "soundfile": None, "pillow": None}
FRAMES = {"torch": None, "torchvision": None, "opencv-python-headless": None, "pillow": None}
_ASK = """
import importlib.metadata as m, json, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""
_OTHER_NAMES = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")}


@dataclass(frozen=True)
class Reference:
    """A checkout of the original, a Python that runs it, and the versions of what it needs."""

    checkout: Path
    python: Path
    versions: dict[str, str]

    @property
    def source(self) -> Path:
        """Where the original's modules lie."""
        return self.checkout / "src"


def add_reference(parser: argparse.ArgumentParser) -> None:
    """Add `--reference` and `--reference-python`."""
    parser.add_argument("--reference", type=Path, metavar="DIR", help=f"checkout of the original (else {CHECKOUT})")
    parser.add_argument(
        "--reference-python",
        type=Path,
        metavar="FILE",
        help=f"Python that runs it (else {PYTHON}, else .venv-reference, which `make reference-env` makes)",
    )


def find_reference(options: argparse.Namespace, needs: Mapping[str, str | None], files: Iterable[str]) -> Reference:
    """Return the original as the options and the environment name it; raises InputError naming what is missing.

    `needs` are distributions with the version that they must have, or None; `files` must lie in the checkout.
    """
    named = options.reference or os.environ.get(CHECKOUT)
    if not named:
        raise InputError(f"a checkout of the original CAV-MAE is missing: name it with --reference DIR or {CHECKOUT}")
    checkout = Path(named).resolve()
    for file in files:
        if not (checkout / file).is_file():
            raise InputError(f"{named}: is no checkout of the original CAV-MAE, {file} is missing in it")
    python = _python(options.reference_python)
    return Reference(checkout, python, check_packages(python, needs))


def _python(option: Path | None) -> Path:
    named = option or os.environ.get(PYTHON)
    if named:
        if not os.access(named, os.X_OK):
            raise InputError(f"{named}: is no Python that can be run; name another, or run `make reference-env`")
        return Path(os.path.abspath(named))
    # without an environment of its own the original may run in ours, where somebody installed what it needs
    return _ENVIRONMENT if _ENVIRONMENT.exists() else Path(sys.executable)


def check_packages(python: Path, needs: Mapping[str, str | None]) -> dict[str, str]:
    """Return the versions of distributions; raises InputError for one that is missing or of another version."""
    names = [name for need in needs for name in (need, *_OTHER_NAMES.get(need, ()))]
    try:
        asked = subprocess.run([str(python), "-c", _ASK, *names], capture_output=True, text=True, check=True, timeout=60)
        found = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InputError(f"{python}: cannot be run as a Python ({type(error).__name__}); run `make reference-env`") from None
    versions = {}
    for need, wanted in needs.items():
        name = next((name for name in (need, *_OTHER_NAMES.get(need, ())) if found[name]), need)
        if found[name] is None or (wanted and found[name] != wanted):
            has = f"has {name} {found[name]}" if found[name] else f"lacks {name}"
            want = f"{need} {wanted}" if wanted else need
            raise InputError(f"{want} is missing: {python} {has}; run `make reference-env`, or name another --reference-python")
        versions[name] = found[name]
    return versions


def find_program(name: str) -> str:
    """Return the first line that a program says of its version; raises InputError where it is not installed."""
    if shutil.which(name) is None:
        raise InputError(f"{name} is missing: install it (on Debian `apt-get install {name}`)")
    flag = "--version" if name == "sox" else "-version"
    said = subprocess.run([name, flag], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).splitlines()[0].strip()
