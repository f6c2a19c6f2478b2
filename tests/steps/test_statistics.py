"""The step `statistics`: its file, its text, and its agreement with what `adapt` measures."""

import json
from pathlib import Path

import pytest
import yaml

from cavmae import cli
from cavmae.errors import InputError
from cavmae.features.statistics import LogMelStatistics
from cavmae.models.folder import read_config
from cavmae.models.lineage import dataset_fingerprint
from cavmae.params import knobs
from cavmae.steps.statistics import as_text
from tests.training.tiny import PARAMS, arguments, params, run_step, same_files, tiny


def test_the_file_holds_figures_settings_and_the_fingerprint_of_the_data(tmp_path: Path) -> None:
    measured = run_step("statistics", {"dataset": tiny().dataset, "out": tmp_path / "s.json"})
    written = json.loads((tmp_path / "s.json").read_text())
    assert (written["mean"], written["std"], written["clips"]) == (measured.mean, measured.std, 32)
    assert (written["split"], written["sample_rate"], written["num_mel_bins"]) == ("train", 16000, 32)
    assert written["frames"] == 32 * written["audio_length"] and 0 <= written["padding"] < 0.2
    assert written["dataset"] == dataset_fingerprint(tiny().dataset)
    again = tmp_path / "again"
    run_step("statistics", {"dataset": tiny().dataset, "out": again / "s.json"})
    (tmp_path / "first").mkdir()
    (tmp_path / "s.json").rename(tmp_path / "first" / "s.json")
    assert same_files(tmp_path / "first", again) == []


def test_adapt_measures_the_same(tmp_path: Path) -> None:
    measured = run_step("statistics", {"dataset": tiny().dataset, "out": tmp_path / "s.json"})
    normalisation = read_config(tiny().adapted).normalisation
    assert (round(measured.mean, 6), round(measured.std, 6)) == (normalisation.mean, normalisation.std)
    length = json.loads((tmp_path / "s.json").read_text())["audio_length"]
    assert length == read_config(tiny().adapted).architecture.audio_length


def test_the_default_bands_are_those_of_the_model() -> None:
    assert knobs("statistics", PARAMS)["num_mel_bins"][0] == yaml.safe_load(PARAMS.read_text())["adapt"]["model"]["num_mel_bins"]


def test_other_splits_bands_and_lengths_give_other_figures(tmp_path: Path) -> None:
    def means(**changes: object) -> tuple[float, float]:
        found = run_step("statistics", {"dataset": tiny().dataset, "out": tmp_path / "s.json"}, **changes)
        return found.mean, found.padding

    train = means()
    assert means(split="val") != train and means(num_mel_bins=64) != train
    longer = means(audio_length=1024)
    assert longer[1] > 0.85 and abs(longer[0]) < abs(train[0])


def test_the_terminal_shows_the_figures_and_what_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.json"
    words = arguments("statistics")
    assert cli.main([*words, "--dataset", str(tiny().dataset), "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"log-mel mean {written['mean']:.6f}, std {written['std']:.6f}"
    assert lines[1].startswith("32 train clips, ") and lines[1].endswith("% of the frames padding")
    command = lines[2].partition("cavmae ")[2].split()
    options = cli._parser("adapt", PARAMS).parse_args(command)
    assert float(options.knob_mean) == pytest.approx(written["mean"], abs=1e-6)
    assert float(options.knob_std) == pytest.approx(written["std"], abs=1e-6)


def test_constant_spectrograms_are_told_to_be_of_no_use() -> None:
    shown = as_text(LogMelStatistics(-15.9, 1e-9, 3, 300, 0.0), params("statistics"))
    assert "adapt" not in shown and "no model can be normalised" in shown


def test_a_split_without_clips_or_a_folder_without_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a validated data set"):
        run_step("statistics", {"dataset": tmp_path, "out": tmp_path / "s.json"})
    assert not (tmp_path / "s.json").exists()
