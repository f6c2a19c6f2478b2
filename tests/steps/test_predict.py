"""The command `predict`: labels for files that the model never saw, and an explanation for those that give none."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cavmae.cli import main
from tests.training.tiny import arguments, tiny


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of the sample set, a film of 3.6 s, one without sound, its sound without picture, and text named as a film."""
    folder = tmp_path_factory.mktemp("videos")
    sample = sorted((tiny().root / "data" / "ingest" / "sample").rglob("*.mp4"))[0]
    shutil.copyfile(sample, folder / "short.mp4")
    film(folder / "long.mp4", 3.6, sound=True)
    film(folder / "mute.mp4", 1.0, sound=False)
    film(folder / "sound.m4a", 3.6, sound=True, picture=False)
    (folder / "broken.mp4").write_text("no film at all")
    return folder


def film(path: Path, seconds: float, sound: bool, picture: bool = True) -> None:
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 255, (round(seconds * 8), 32, 32, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=8, options={"threads": "1"}) if picture else None
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        if video is not None:
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
            for one in shown:
                container.mux(video.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
            container.mux(video.encode(None))
        if audio is not None:
            wave = rng.integers(-9000, 9000, (1, round(seconds * 16000))).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            frame.sample_rate = 16000
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def predict(*files: Path, model: Path | None = None, **changes: object) -> int:
    words = [*arguments("predict", **changes), "--model", str(model or tiny().classifier())]
    return main([*words, "--", *map(str, files)])


def test_a_clip_gets_its_best_labels_as_a_table(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(videos / "short.mp4", top=2) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{videos / 'short.mp4'}  ") and len(line.split("  ")[-2:]) == 2
    scores = [float(part.rpartition(" ")[2]) for part in line.split("  ")[-2:]]
    assert scores == sorted(scores, reverse=True) and 0 < scores[1] <= scores[0] <= 1


def test_the_window_slides_over_a_longer_file_and_lines_are_json(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(videos / "long.mp4", format="jsonl", top=8) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["start_s"] for row in rows] == pytest.approx([0, 1, 2, 3], abs=0.1)
    assert rows[-1]["end_s"] == pytest.approx(3.6, abs=0.15)
    assert all(len(row["scores"]) == 8 and sum(row["scores"].values()) == pytest.approx(1, abs=1e-4) for row in rows)
    assert predict(videos / "long.mp4", format="jsonl", hop_s=0.5) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 6


def test_a_file_that_cannot_be_used_is_explained_and_stops_no_other(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hears = tiny().classifier("audioonly")
    assert predict(videos / "broken.mp4", videos / "short.mp4", videos / "mute.mp4", format="jsonl", model=hears) == 0
    captured = capsys.readouterr()
    broken, short, mute = (json.loads(line) for line in captured.out.splitlines())
    assert broken["error"].startswith("not_media: ") and mute["error"].startswith("no_audio: ")
    assert short["path"] == str(videos / "short.mp4") and "scores" in short


@pytest.mark.parametrize(
    ("name", "mode"),
    [("broken.mp4", "multimodal"), ("mute.mp4", "audioonly"), ("sound.m4a", "videoonly"), (".", "multimodal")],
)
def test_where_no_file_can_be_used_the_command_fails_with_one_reason(
    videos: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, name: str, mode: str
) -> None:
    assert predict(videos / name, model=tiny().classifier(mode)) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and line.startswith(f"cavmae predict: {videos / name}: cannot be used (")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "it is not said twice"


def test_of_several_files_that_cannot_be_used_each_is_named_once(
    videos: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert predict(videos / "broken.mp4", videos / "mute.mp4", model=tiny().classifier("audioonly")) == 2
    assert capsys.readouterr().err.startswith(f"cavmae predict: {videos / 'broken.mp4'}: cannot be used (not_media: ")
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith(f"predict: {videos / 'mute.mp4'}: cannot be used (no_audio: ")


def jsonl(capsys: pytest.CaptureFixture[str], *files: Path, **changes: object) -> list[dict[str, Any]]:
    assert predict(*files, format="jsonl", top=8, **changes) == 0  # type: ignore[arg-type]
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_model_of_both_makes_do_with_one_and_says_what_it_did_without(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard = jsonl(capsys, videos / "sound.m4a", per_frame=True)
    assert [row["missing"] for row in heard] == ["picture"] * 4 and not any("frames" in row for row in heard)
    assert [row["start_s"] for row in heard] == pytest.approx([0, 1, 2, 3], abs=0.1)
    assert heard[-1]["end_s"] == pytest.approx(3.6, abs=0.15)
    (seen,) = jsonl(capsys, videos / "mute.mp4", per_frame=True)
    assert seen["missing"] == "sound" and len(seen["frames"]) == 4
    for label, score in seen["scores"].items():
        assert score == pytest.approx(np.mean([one["scores"][label] for one in seen["frames"]]), abs=2e-6)
    assert all("missing" not in row for row in jsonl(capsys, videos / "long.mp4"))
    assert predict(videos / "sound.m4a", videos / "long.mp4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("  (no picture)") for line in lines] == [True] * 4 + [False] * 4


def test_a_model_of_one_modality_needs_no_other(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hears, sees = tiny().classifier("audioonly"), tiny().classifier("videoonly")
    with_picture, without = (jsonl(capsys, videos / name, model=hears) for name in ("long.mp4", "sound.m4a"))
    assert len(with_picture) == len(without) == 4 and not any("missing" in row for row in without)
    for one, other in zip(with_picture[:3], without[:3], strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5), "the same sound in another file"
    (mute,) = jsonl(capsys, videos / "mute.mp4", model=sees)
    assert "missing" not in mute and "scores" in mute


def test_frames_have_scores_of_their_own_of_which_the_windows_are_the_mean(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(videos / "long.mp4", per_frame=True, format="jsonl", top=8, hop_s=1.0) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) >= 3
    for row in rows:
        assert [one["frame"] for one in row["frames"]] == [0, 1, 2, 3]
        times = [one["time_s"] for one in row["frames"]]
        assert times == sorted(set(times)) and row["start_s"] <= times[0] and times[-1] < row["end_s"]
        for label, score in row["scores"].items():
            assert score == pytest.approx(np.mean([one["scores"][label] for one in row["frames"]]), abs=2e-6)
    assert predict(videos / "long.mp4", format="jsonl", top=8, hop_s=1.0) == 0
    plain = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert plain == [{key: value for key, value in row.items() if key != "frames"} for row in rows]


def test_frames_stand_below_their_window_in_the_table(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(videos / "short.mp4", per_frame=True, top=1) == 0
    lines = [line.removeprefix(str(videos / "short.mp4")) for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[:2] for line in lines[1:]] == [[time, "s"] for time in ("0.00", "0.25", "0.50", "0.75")]
    assert len({len(line.rpartition("  ")[0]) for line in lines}) == 1, "scores stand below each other"


def test_scores_of_frames_need_a_model_that_sees_them(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(videos / "short.mp4", model=tiny().classifier("audioonly"), per_frame=True) == 2
    assert "hears the sound alone and has no scores of frames; set per_frame=false" in capsys.readouterr().err
    assert predict(videos / "short.mp4", model=tiny().classifier("videoonly"), per_frame=True) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_missing_file_is_told_before_any_work(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(videos / "short.mp4", videos / "nowhere.mp4") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == f"cavmae predict: {videos / 'nowhere.mp4'}: no such file\n"


def test_a_pretrained_folder_is_refused_in_one_line(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(videos / "short.mp4", model=tiny().pretrained) == 2
    assert capsys.readouterr().err == f"cavmae predict: {tiny().pretrained}: is no classifier; give a fine-tuned model\n"
    assert predict(videos / "short.mp4", device="cuda") == 2
    assert "torch sees no GPU" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["-dash.mp4", "sp ace Ünï.mp4", os.fsdecode(b"caf\xe9.mp4")])
def test_odd_file_names_are_only_names(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copyfile(videos / "short.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert predict(Path(name), format="jsonl") == 0
    row = json.loads(capfd.readouterr().out)
    assert row["path"] == name and row["scores"]
