"""The README's and the docs' commands: they parse, and those for one's own videos run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cavmae import cli, steps
from cavmae.dataset.sample import SampleSettings, plan, render
from cavmae.pages import PAGES as PAGES_OF_CAVMAE
from cavmae.params import default_params_path
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def shell_blocks(page: Path) -> list[list[str]]:
    """The lines of every ```sh block, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    return [[line.split(" #")[0].strip() for line in block.splitlines() if line.strip()] for block in blocks]


def own_videos_block() -> list[str]:
    return next(block for block in shell_blocks(REPOSITORY / "README.md") if any("cavmae ingest" in line for line in block))


def inline_commands(page: Path) -> list[str]:
    """Commands `cavmae step --flag ...` that stand in running text, where they name at least one flag."""
    return re.findall(r"`(cavmae [a-z]+ --[^`]*)`", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_cavmae_command_in_the_text_parses(page: Path) -> None:
    commands = [line for block in shell_blocks(page) for line in block if line.startswith("cavmae ")] + inline_commands(page)
    for command in commands:
        words = shlex.split(command)[1:]
        if words[0] in steps.NAMES and len(words) > 1 and not words[-1].startswith("--"):
            cli._parser(words[0], default_params_path()).parse_args(words)
        elif words[0] not in steps.NAMES and words[0] != "STEP":
            PAGES_OF_CAVMAE[words[0]].parser().parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_pipelines_command_in_the_text_parses(page: Path) -> None:
    from pipelines.cli import _parser

    text = page.read_text(encoding="utf-8")
    commands = [line for block in shell_blocks(page) for line in block if line.startswith("python -m pipelines ")]
    commands += re.findall(r"`(python -m pipelines [a-z]+ [^`]*)`", text)
    for command in commands:
        words = shlex.split(command)[3:]
        if "NAME" not in words and "--help" not in words:
            _parser().parse_args([word for word in words if word != "…"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_dvc_command_in_the_text_parses_and_sets_what_there_is(page: Path) -> None:
    from dvc.cli.parser import get_main_parser

    text = page.read_text(encoding="utf-8")
    commands = [line for block in shell_blocks(page) for line in block if line.startswith("dvc ")]
    commands += re.findall(r"`(dvc (?:repro|fetch|pull|push|config|exp run) [^`…]*)`", text)
    known = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for command in commands:
        words = shlex.split(command)[1:]
        given = get_main_parser().parse_args(words)
        for setting in getattr(given, "set_param", None) or []:
            section, key = setting.partition("=")[0].split(".", 1)
            assert key.partition(".")[0] in known[section], command


def test_every_make_verb_in_the_text_exists() -> None:
    verbs = set(re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), flags=re.M))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)`", page.read_text())) | set(
            re.findall(r"^make ([a-z-]+)", page.read_text(), flags=re.M)
        )
        assert named <= verbs, page


def test_every_file_that_the_text_links_to_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_commands_for_ones_own_videos_run_from_a_folder_to_a_prediction(tmp_path: Path) -> None:
    settings = SampleSettings(clips=40, broken=False, seconds=1.0, size=32, fps=8, sample_rate=16000, seed=3, shared_facts=True)
    for clip in plan(settings):
        render(clip, settings, tmp_path / "videos" / clip.label / f"{clip.name} (copy).mp4")
    shutil.copyfile(next((tmp_path / "videos").rglob("*.mp4")), tmp_path / "holiday.mp4")
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in own_videos_block()[1:]:
        done = subprocess.run(shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert done.stdout.startswith("holiday.mp4")
    for made in ("models/final/README.md", "reports/report.html", "metrics/evaluation.json", "data/validated/docs/index.html"):
        assert (tmp_path / made).is_file()
