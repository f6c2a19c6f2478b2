"""The command line: help from params.yaml, one line and the right exit code for whatever is wrong, and what overrides what."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cavmae import cli, steps
from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.params import knobs
from tests.training.tiny import PARAMS, REPOSITORY


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a copy of params.yaml and nothing else."""
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused; return the one line that it says."""
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert captured.out == "" and len(lines) == 1, captured.err
    assert lines[0].startswith(f"cavmae {words[0]}: " if words else "cavmae: ")
    return str(lines[0])


@pytest.mark.parametrize("name", steps.NAMES)
def test_help_shows_every_file_and_every_knob_with_default_and_comment(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    step = steps.load(name)
    assert step.summary in shown
    for artifact in (*step.inputs, *step.outputs):
        assert artifact.help in shown and artifact.path in shown
    for key, (default, comment) in knobs(name, PARAMS).items():
        if "." not in key:
            written = {None: "null", True: "true", False: "false"}[default] if isinstance(default, bool | None) else str(default)
            assert f"{comment} (default {written})" in shown, key


def test_help_lists_all_steps_and_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*steps.NAMES, "results"))
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "foo=1"], ["--set foo=1", "no key 'foo'", "known keys", "lr"]),
        (["--set", "lr"], ["give it as key=value"]),
        (["--epoch", "3"], ["unrecognized arguments: --epoch 3"]),
        (["--lr"], ["--lr", "expected one argument"]),
        (["--lr", "fast"], ["'pretrain.lr' is 'fast'", "valid number"]),
        (["--lr", "-1"], ["'pretrain.lr' is -1", "greater than 0"]),
        (["--set", "lr=nan"], ["'pretrain.lr' is", "nan"]),
        (["--set", "lr=.inf"], ["'pretrain.lr' is inf", "finite"]),
        (["--optimizer", "sgd"], ["'pretrain.optimizer' is 'sgd'", "'adamw' or 'adam'"]),
        (["--batch-size", "1"], ["'pretrain.batch_size' is 1", "greater than or equal to 2"]),
        (["--epochs", "3", "--warmup-epochs", "4"], ["'pretrain.warmup_epochs' is 4", "below epochs, which is 3"]),
        (["--mae-loss-weight", "0", "--contrast-loss-weight", "0"], ["'pretrain.contrast_loss_weight' is 0", "above 0"]),
        (["--start", "nowhere"], ["nowhere", "no such model folder"]),
    ],
)
def test_a_wrong_word_gives_one_line_that_names_key_value_and_what_is_allowed(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: list[str]
) -> None:
    line = complaint(capsys, "pretrain", *words)
    assert all(part in line for part in told), line


def test_a_wrong_step_or_none_is_told_in_one_line(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'train'" in complaint(capsys, "train")
    assert "required: STEP" in complaint(capsys)


def changed_params(change: Any) -> None:
    document = yaml.safe_load(PARAMS.read_text())
    change(document)
    Path("params.yaml").write_text(yaml.safe_dump(document))


def test_a_wrong_params_file_is_told_in_one_line(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.yaml: no such file" in complaint(capsys, "pretrain", "--params", "nowhere.yaml", "--lr", "1")
    Path("bad.yaml").write_bytes(b"\xff\xfe\x00")
    assert "bad.yaml: cannot be read" in complaint(capsys, "pretrain", "--params=bad.yaml")
    Path("bad.yaml").write_text("pretrain: [1, 2")
    assert "bad.yaml, line" in complaint(capsys, "pretrain", "--params", "bad.yaml")
    Path("bad.yaml").write_text("- 1")
    assert "bad.yaml: holds no mapping" in complaint(capsys, "pretrain", "--params", "bad.yaml")
    changed_params(lambda document: document.pop("pretrain"))
    assert "params.yaml: section 'pretrain' is missing" in complaint(capsys, "pretrain")
    changed_params(lambda document: document["pretrain"].pop("lr"))
    assert "'pretrain.lr' is missing" in complaint(capsys, "pretrain")
    changed_params(lambda document: document["pretrain"].update(colour="red"))
    assert "unknown parameter 'pretrain.colour'" in complaint(capsys, "pretrain")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> list[Any]:
    """The parameters and paths with which a step's function would be called."""
    from cavmae.steps import Step

    calls: list[Any] = []
    monkeypatch.setattr(Step, "run", lambda self, params, paths: calls.append((params, paths)))
    monkeypatch.setenv("CAVMAE_WORK", str(elsewhere / "work"))
    return calls


def test_set_wins_over_a_flag_and_a_flag_over_the_file(seen: list[Any]) -> None:
    changed_params(lambda document: document["pretrain"].update(lr=0.1, roll=1, seed=1))
    assert cli.main(["pretrain", "--roll", "2", "--seed", "2", "--set", "seed=3", "--set", "pretrain.seed=4"]) == 0
    params, _ = seen[0]
    assert (params.lr, params.roll, params.seed) == (0.1, 2, 4)


def test_a_folder_where_a_file_is_to_be_written_is_refused_before_any_work(
    seen: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").mkdir()
    assert "--curves folder: is a folder; name a file" in complaint(capsys, "pretrain", "--curves", "folder")
    assert seen == []


def test_a_key_inside_a_group_is_set(seen: list[Any]) -> None:
    assert cli.main(["adapt", "--set", "model.depth=7", "--mean", "-5.081", "--std", "null"]) == 0
    params, _ = seen[0]
    assert (params.model.depth, params.mean, params.std) == (7, -5.081, None)


@pytest.mark.parametrize("name", ["videos #1", "2024", "no", "a: b", "- x", "[x]", "~", "Ünïcode *", "2024-01-01"])
def test_a_path_is_text_whatever_yaml_would_read_into_it(seen: list[Any], name: str) -> None:
    assert cli.main(["ingest", f"--source={name}"]) == 0
    assert seen[0][0].source == name


def test_paths_are_those_of_the_description_unless_given(seen: list[Any]) -> None:
    assert cli.main(["pretrain", "--model", "other"]) == 0
    assert seen[0][1]["model"] == Path("other") and seen[0][1]["dataset"] == Path("data/validated")


def test_an_optional_input_that_is_not_there_or_left_out_is_none(seen: list[Any]) -> None:
    Path("models/pretrained").mkdir(parents=True)
    Path("models/averaged/multimodal").mkdir(parents=True)
    assert cli.main(["evaluate", "--pretrained", "none", "--audio-model", "given"]) == 0
    paths = seen[0][1]
    assert paths["pretrained"] is None and paths["video_model"] is None
    assert paths["model"] == Path("models/averaged/multimodal") and paths["audio_model"] == Path("given")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (StepFailed("x"), 1),
        (Interrupted("x"), 75),
        (OSError(28, "No space left", "f"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_end_has_its_exit_code_and_one_line(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(steps.Step, "run", fail)
    assert cli.main(["package"]) == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_closed_gate_ends_with_1_after_its_work(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Verdict:
        def failure(self) -> str:
            return "validation failed: leakage"

    monkeypatch.setattr(steps.Step, "run", lambda *_: Verdict())
    assert cli.main(["validate"]) == 1
    assert capsys.readouterr().err == "cavmae validate: validation failed: leakage\n"


def test_python_m_cavmae_is_the_command_and_a_name_that_is_no_text_does_not_break_it(elsewhere: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "cavmae", "predict", name], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2 and done.stderr == "cavmae predict: caf\\udce9.mp4: no such file\n"


def test_results_are_shown_as_a_table_and_another_file_is_refused(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.json").write_text(json.dumps({"test": {"audio": {"mAP": 0.5, "accuracy": 0.25}}}))
    assert cli.main(["results", "--metrics", "m.json", "--report", "r.html"]) == 0
    shown = capsys.readouterr().out
    assert "0.250" in shown and "0.500" in shown and shown.endswith("report: r.html\n")
    Path("m.json").write_text("[1]")
    assert "m.json: is not what `evaluate` writes" in complaint(capsys, "results", "--metrics", "m.json")
    assert "no such file" in complaint(capsys, "results", "--metrics", "nowhere.json")
