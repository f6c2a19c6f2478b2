"""The original's data as it lies (JSON list, label CSV, weight CSV, wavs, frame folders), from `ingest` to the model's input."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cavmae.dataset.loader import ClipSet, balance_weights
from cavmae.dataset.records import decode_frame, decode_waveform
from cavmae.errors import InputError
from cavmae.features.fbank import FbankSettings
from cavmae.features.front_end import FrontEnd, RawBatch
from tests.training.tiny import run_step

VIDEOS = ("KlsG1EnBEjc_000361", "00W1lcxW-WU_40.000")
LABELS = ("/m/09x0r", "/m/05zppz")
AUDIOSET = (-5.081, 4.4849)  # mean and std of the published models


@pytest.fixture
def official(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both sample videos of the original as its own scripts extracted them, in its own layout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    media = np.load(golden / "pipeline" / "sample_media.npz")
    for video in VIDEOS:
        with wave.open(str(tmp_path / f"{video}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(media[f"wav/{video}"].tobytes())
        for index in range(10):
            (tmp_path / "frames" / f"frame_{index}").mkdir(parents=True, exist_ok=True)
            (tmp_path / "frames" / f"frame_{index}" / f"{video}.jpg").write_bytes(media[f"jpeg_file/{video}/5"].tobytes())
    rows = [
        {"video_id": video, "wav": str(tmp_path / f"{video}.wav"), "video_path": str(tmp_path / "frames"), "labels": label}
        for video, label in zip(VIDEOS, LABELS, strict=True)
    ]
    (tmp_path / "list.json").write_text(json.dumps({"data": rows}))
    names = "".join(f'{index},{mid},"Name {index}"\n' for index, mid in enumerate(LABELS))
    (tmp_path / "labels.csv").write_text(f"index,mid,display_name\n{names}")
    (tmp_path / "list_weight.csv").write_text("3.500000000000000000e+00\n1.250000000000000000e+00\n")
    return tmp_path


def validated(folder: Path) -> ClipSet:
    lists = {"source": "list.json", "labels_csv": "labels.csv", "weights_csv": "list_weight.csv"}
    run_step("ingest", {"out": folder / "ingest"}, **lists, val_share=0, test_share=0)
    run_step("extract", {"clips": folder / "ingest", "out": folder / "shards"}, frames=10, frame_size=224)
    run_step("validate", {"clips": folder / "ingest", "shards": folder / "shards", "out": folder / "validated"})
    return ClipSet(folder / "validated")


def test_the_models_input_is_what_the_official_loader_computes(official: Path, golden: Path) -> None:
    clips = {clip.video_id: clip for clip in validated(official).split("train")}
    assert len(clips) == 2
    expected = load_file(golden / "pipeline" / "expected.safetensors")
    media = np.load(golden / "pipeline" / "sample_media.npz")
    settings = FbankSettings(16000, 128, 1024)
    for video in VIDEOS:
        (clip,) = (clip for clip in clips.values() if Path(clip.path).stem == video)
        members = clip.members()
        assert np.array_equal(decode_waveform(members), media[f"wav/{video}"])
        assert [members[f"{index}.jpg"] for index in range(10)] == [media[f"jpeg_file/{video}/5"].tobytes()] * 10
        raw = RawBatch.collate([decode_waveform(members)], [decode_frame(members, 5, 224)], settings)
        mel = FrontEnd(settings, 0.0, 1.0).audio(raw)[0]
        torch.testing.assert_close(mel, expected[f"{video}/fbank_raw"], atol=2e-3, rtol=0)
        image = FrontEnd(settings, *AUDIOSET).images(raw)[0]
        key, step = (f"{video}/image", 1) if f"{video}/image" in expected else (f"{video}/image_strided", 4)
        torch.testing.assert_close(image[:, ::step, ::step], expected[key], atol=1e-6, rtol=0)


def test_published_weights_stay_with_their_clips_and_are_drawn_by(official: Path) -> None:
    data = validated(official)
    clips = sorted(data.split("train"), key=lambda clip: clip.labels)
    assert [clip.weight for clip in clips] == [3.5, 1.25] and balance_weights(clips).tolist() == [3.5, 1.25]
    assert [label.display_name for label in data.labels] == ["Name 0", "Name 1"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1.0\n", r"list_weight\.csv: holds 1 weights, list\.json 2 rows; give one a row, in their order"),
        ("1.0\nmany\n", r"list_weight\.csv, line 2: 'many' is not a number above 0"),
        ("1.0\n-2\n", "line 2: '-2' is not a number above 0"),
        ("nan\n1\n", "line 1: 'nan' is not a number above 0"),
    ],
)
def test_weights_that_do_not_fit_the_list_are_refused(official: Path, content: str, says: str) -> None:
    (official / "list_weight.csv").write_text(content)
    with pytest.raises(InputError, match=says):
        validated(official)


def test_weights_without_rows_to_belong_to_are_refused(official: Path) -> None:
    with pytest.raises(InputError, match=r"the source, which must be a \.csv or \.json then"):
        run_step("ingest", {"out": official / "out"}, source="frames", weights_csv="list_weight.csv")
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        run_step("ingest", {"out": official / "out"}, source="list.json", weights_csv="gone.csv")
