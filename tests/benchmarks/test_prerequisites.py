"""A missing prerequisite ends a benchmark with its name and exit code 2."""

import argparse
import sys
from pathlib import Path

import pytest

import benchmarks.input
from benchmarks import extract, retrieval, scaling, step
from benchmarks.prerequisites import CHECKOUT, PYTHON, check_packages, find_program, find_reference
from cavmae.errors import InputError

AGAINST = {"step": step, "input": benchmarks.input, "extract": extract, "retrieval": retrieval}
FILES = (
    "src/models/cav_mae.py",
    "src/traintest_cavmae.py",
    "src/dataloader.py",
    "src/retrieval.py",
    "src/preprocess/extract_audio.py",
    "src/preprocess/extract_video_frame.py",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CHECKOUT, PYTHON):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the names of the original's files."""
    for file in FILES:
        (tmp_path / "original" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "original" / file).write_text("")
    return tmp_path / "original"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python without any package."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.parametrize("name", AGAINST)
def test_without_a_checkout_every_benchmark_says_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert AGAINST[name].main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"benchmarks.{name}: a checkout of the original CAV-MAE is missing") and said.count("\n") == 1


@pytest.mark.parametrize("name", AGAINST)
def test_a_folder_that_is_no_checkout_is_named_with_what_it_lacks(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert AGAINST[name].main(["--reference", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path) in said and "is missing in it" in said and "src/" in said


@pytest.mark.parametrize(
    ("name", "lacks"), [("step", "timm 0.4.5"), ("input", "torch"), ("extract", "torch"), ("retrieval", "torch")]
)
def test_an_environment_that_lacks_a_package_is_named_with_it(
    name: str, lacks: str, checkout: Path, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert AGAINST[name].main(["--reference", str(checkout), "--reference-python", str(bare)]) == 2
    said = capsys.readouterr().err
    assert f"benchmarks.{name}: {lacks} is missing" in said and "make reference-env" in said


def test_another_version_of_timm_is_told_from_the_right_one() -> None:
    with pytest.raises(InputError, match=r"numpy 0\.0\.1 is missing: .* has numpy"):
        check_packages(Path(sys.executable), {"numpy": "0.0.1"})


def test_a_python_that_is_none_is_refused(checkout: Path, tmp_path: Path) -> None:
    options = argparse.Namespace(reference=checkout, reference_python=tmp_path / "none")
    with pytest.raises(InputError, match="no Python that can be run"):
        find_reference(options, {"torch": None}, FILES)


def test_the_environment_names_checkout_and_python(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKOUT, str(checkout))
    monkeypatch.setenv(PYTHON, sys.executable)
    found = find_reference(argparse.Namespace(reference=None, reference_python=None), {"numpy": None}, FILES)
    assert found.checkout == checkout and found.python == Path(sys.executable) and set(found.versions) == {"numpy"}


def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sox is missing: install it"):
        find_program("sox")


@pytest.mark.parametrize("module", [*AGAINST.values(), scaling])
def test_help_names_what_every_benchmark_shares(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])  # type: ignore[attr-defined]
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "--json FILE" in said and "--results DIR" in said
    assert ("--reference DIR" in said) == (module is not scaling)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("step", ["--batch", "1"], "--batch must be 2 or more"),
        ("step", ["--batch", "0"], "--batch must be 2 or more"),
        ("step", ["--repeats", "0"], "--repeats, --threads and --losses 1 or more"),
        ("step", ["--losses", "-1"], "--losses 1 or more"),
        ("step", ["--reference-precision", "fp16"], "needs --device cuda"),
        ("input", ["--clips", "1"], "--clips and --batch must be 2 or more"),
        ("retrieval", ["--timed", "3"], "--timed must be 20 or more"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    name: str,
    arguments: list[str],
    says: str,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmarks.prerequisites.check_packages", lambda python, needs: {})
    assert AGAINST[name].main(["--reference", str(checkout), *arguments]) == 2
    assert says in capsys.readouterr().err
