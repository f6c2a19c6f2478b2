"""The command `inpaint`: figures, sounds, page and losses of a data set's clips and of files, good and bad."""

import json
import os
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cavmae.cli import main
from cavmae.models.files import CONFIG
from cavmae.storage import write_json
from tests.training.tiny import arguments, same_files, tiny

SOUNDS = ["masked.wav", "original.wav", "reconstructed.wav", "vocoded.wav"]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


@pytest.fixture
def sample() -> list[Path]:
    """The videos of the sample set."""
    return sorted((tiny().root / "data" / "ingest" / "sample").rglob("*.mp4"))


def inpaint(out: Path, *files: Path | str, model: Path | None = None, dataset: Path | None = None, **changes: object) -> int:
    words = [*arguments("inpaint", **changes), "--model", str(model or tiny().pretrained), "--out", str(out)]
    return main([*words, "--dataset", str(dataset or "none"), "--", *map(str, files)])


def losses(out: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((out / "losses.json").read_text(encoding="utf-8"))
    return document


def test_clips_of_the_data_set_become_figures_sounds_a_page_and_losses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert inpaint(out, dataset=tiny().dataset, count=2, mask_ratio_a=0.5, mask_ratio_v=0.9, seed=7) == 0
    document = losses(out)
    clips = document["clips"]
    assert isinstance(clips, list) and len(clips) == 2
    assert sorted(path.name for path in out.iterdir()) == sorted(["index.html", "losses.json", *(clip["name"] for clip in clips)])
    for clip in clips:
        folder = out / clip["name"]
        assert sorted(path.name for path in folder.iterdir()) == ["figure.png", *SOUNDS]
        with Image.open(folder / "figure.png") as figure:
            assert figure.format == "PNG" and figure.width > 1400
        for name in SOUNDS:
            with wave.open(str(folder / name)) as sound:
                assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (16000, 2, 1)
                assert sound.getnframes() / 16000 == pytest.approx(clip["seconds"], abs=0.06)
        assert clip["loss_a"] > 0 and clip["loss_v"] > 0 and 0 < clip["gain"] <= 1
    mean = {key: sum(clip[key] for clip in clips) / 2 for key in ("loss_a", "loss_v")}
    assert document["mean"] == pytest.approx(mean)
    kept = {key: document[key] for key in ("mask_ratio_a", "mask_ratio_v", "mask_mode", "seed", "norm_pix_loss", "failed")}
    assert kept == {
        "mask_ratio_a": 0.5,
        "mask_ratio_v": 0.9,
        "mask_mode": "unstructured",
        "seed": 7,
        "norm_pix_loss": False,
        "failed": [],
    }
    assert str(out / "index.html") in caplog.text
    assert capsys.readouterr().out == ""


def test_a_second_run_gives_the_same_bytes_and_replaces_the_first(tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert inpaint(out, dataset=tiny().dataset, count=3) == 0
    assert inpaint(again, dataset=tiny().dataset, count=1, mask_mode="tf") == 0
    assert same_files(out, again) != []
    assert inpaint(again, dataset=tiny().dataset, count=3) == 0
    assert same_files(out, again) == []


def test_a_clip_is_masked_alike_whatever_else_is_asked_for(tmp_path: Path, sample: list[Path]) -> None:
    assert inpaint(tmp_path / "three", *sample[:3]) == 0
    assert inpaint(tmp_path / "turned", sample[2], sample[0]) == 0
    for path in (sample[0], sample[2]):
        assert same_files(tmp_path / "three" / path.stem, tmp_path / "turned" / path.stem) == []
    assert inpaint(tmp_path / "seed", sample[0], seed=1) == 0
    assert "figure.png" in same_files(tmp_path / "three" / sample[0].stem, tmp_path / "seed" / sample[0].stem)


def test_every_mask_mode_hides_in_its_own_way(tmp_path: Path, sample: list[Path]) -> None:
    veils = {}
    for mode in ("unstructured", "time", "freq", "tf"):
        assert inpaint(tmp_path / mode, sample[0], mask_mode=mode) == 0
        assert losses(tmp_path / mode)["mask_mode"] == mode
        with Image.open(tmp_path / mode / sample[0].stem / "figure.png") as figure:
            panel = np.asarray(figure)[620:894, 620:1100]  # the masked spectrogram
        veils[mode] = (panel[..., 0] == panel[..., 1]) & (panel[..., 1] == panel[..., 2])
    assert len({veil.tobytes() for veil in veils.values()}) == 4
    # 5 of 7 columns, the last of which lies half in the padding; 1 of 2 rows
    assert veils["time"].all(axis=0).mean() > 0.6
    assert veils["freq"].all(axis=1).mean() == 0.5


def test_bad_files_are_named_and_stop_no_others(tmp_path: Path, sample: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    evil = tmp_path / "<script>alert(1)<" / 'b & "c".mp4'
    evil.parent.mkdir()
    evil.write_text("no film at all")
    (tmp_path / "empty.mp4").touch()
    assert inpaint(tmp_path / "out", evil, sample[0], tmp_path / "empty.mp4") == 0
    failed = losses(tmp_path / "out")["failed"]
    assert isinstance(failed, list) and [row["path"] for row in failed] == [str(evil), str(tmp_path / "empty.mp4")]
    assert failed[0]["reason"].startswith("not_media: ") and failed[1]["reason"].startswith("empty_file: ")
    assert f"inpaint: {evil}: not_media: " in caplog.text
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "2 of 3 files could not be used" in page and "<script" not in page and "&lt;script&gt;" in page


def test_where_no_file_can_be_used_one_reason_is_given_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_text("no film at all")
    assert inpaint(tmp_path / "out", tmp_path / "text.mp4") == 2
    assert "text.mp4: cannot be used (not_media: " in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "work") == ["text.mp4"]


@pytest.mark.parametrize("name", ["-dash.mp4", "sp ace Ünï ♫.mp4", os.fsdecode(b"caf\xe9.mp4"), "index.html.mp4"])
def test_odd_file_names_are_only_names(tmp_path: Path, sample: list[Path], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shutil.copyfile(sample[0], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert inpaint(Path("out"), name) == 0
    clips = losses(tmp_path / "out")["clips"]
    assert isinstance(clips, list) and clips[0]["path"] == name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert (tmp_path / "out" / clips[0]["name"] / "figure.png").is_file() and clips[0]["name"].isascii()


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path, sample: list[Path]) -> None:
    for folder, video in zip("ab", sample, strict=False):
        (tmp_path / folder).mkdir()
        shutil.copyfile(video, tmp_path / folder / "clip.mp4")
    assert inpaint(tmp_path / "out", tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.mp4") == 0
    clips = losses(tmp_path / "out")["clips"]
    assert isinstance(clips, list)
    figures = {(tmp_path / "out" / clip["name"] / "figure.png").read_bytes() for clip in clips}
    assert len(figures) == 2


def test_a_model_of_normalised_patches_is_used_and_the_page_says_what_was_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    normalised = tmp_path / "normalised"
    shutil.copytree(tiny().pretrained, normalised)
    config = json.loads((normalised / CONFIG).read_text()) | {"norm_pix_loss": True}
    write_json(normalised / CONFIG, config)
    assert inpaint(tmp_path / "out", dataset=tiny().dataset, model=normalised, count=1) == 0
    assert inpaint(tmp_path / "plain", dataset=tiny().dataset, count=1) == 0
    assert "norm_pix_loss" in caplog.text and losses(tmp_path / "out")["norm_pix_loss"] is True
    assert "true mean and spread" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "true mean and spread" not in (tmp_path / "plain" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("ratios", "without"), [((0.0, 0.5), "loss_a"), ((1.0, 0.0), "loss_v")])
def test_one_of_the_two_may_be_left_whole_and_one_hidden_whole(tmp_path: Path, ratios: tuple[float, float], without: str) -> None:
    assert inpaint(tmp_path / "out", dataset=tiny().dataset, count=1, mask_ratio_a=ratios[0], mask_ratio_v=ratios[1]) == 0
    mean = losses(tmp_path / "out")["mean"]
    assert isinstance(mean, dict) and [key for key, value in mean.items() if value is None] == [without]


def test_what_makes_no_sense_is_refused_in_one_line_before_any_work(
    tmp_path: Path, sample: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def refused(*files: Path | str, **changes: object) -> str:
        assert inpaint(out, *files, **changes) == 2  # type: ignore[arg-type]
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "is a classifier" in refused(sample[0], model=tiny().classifier())
    assert refused(sample[0], tmp_path / "nowhere.mp4") == f"cavmae inpaint: {tmp_path / 'nowhere.mp4'}: no such file"
    assert "name video files, or a data set" in refused()
    (tmp_path / "empty").mkdir()
    assert "not a validated data set" in refused(dataset=tmp_path / "empty")
    assert "nothing would be hidden" in refused(sample[0], mask_ratio_a=0, mask_ratio_v=0)
    assert "mask_mode" in refused(sample[0], mask_mode="diagonal")
    assert "torch sees no GPU" in refused(sample[0], device="cuda")
    assert not out.exists()


def test_other_peoples_files_are_not_replaced(tmp_path: Path, sample: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    films, notes = tmp_path / "films", tmp_path / "notes"
    films.mkdir()
    notes.mkdir()
    shutil.copyfile(sample[0], films / "film.mp4")
    (notes / "note.txt").write_text("keep me")
    assert inpaint(films, films / "film.mp4") == 2
    assert "lies in it" in capsys.readouterr().err
    assert inpaint(notes, films / "film.mp4") == 2
    assert "holds 'note.txt', which no earlier `cavmae inpaint` wrote" in capsys.readouterr().err
    assert inpaint(notes / "note.txt", films / "film.mp4") == 2
    assert "is a file" in capsys.readouterr().err
    assert (films / "film.mp4").is_file() and (notes / "note.txt").read_text() == "keep me"
    out = tmp_path / "out"
    assert inpaint(out, films / "film.mp4") == inpaint(out, films / "film.mp4") == 0
    (out / "film" / "mine.wav").write_text("keep me")
    capsys.readouterr()
    assert inpaint(out, films / "film.mp4") == 2
    assert "holds 'film/mine.wav', which" in capsys.readouterr().err and (out / "film" / "mine.wav").is_file()


def test_a_model_that_went_to_pieces_is_a_failure_and_not_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cavmae.models.files import WEIGHTS
    from cavmae.models.folder import read_weights, save_weights

    broken = tmp_path / "broken"
    shutil.copytree(tiny().pretrained, broken)
    weights = read_weights(broken / WEIGHTS)
    save_weights(broken / WEIGHTS, {key: value * float("nan") for key, value in weights.items()})
    assert inpaint(tmp_path / "out", dataset=tiny().dataset, model=broken, count=1) == 1
    assert "not finite" in capsys.readouterr().err and not (tmp_path / "out").exists()
