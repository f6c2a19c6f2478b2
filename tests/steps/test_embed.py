"""The command `embed`: features of a data set or of video files, equal to the model's own, whatever the batch."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from cavmae.cli import main
from cavmae.dataset.loader import ClipSet
from cavmae.dataset.records import decode_frame, decode_waveform
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.images import normalise_images
from cavmae.models.files import model_fingerprint
from cavmae.models.folder import read_model
from tests.steps.command import contents
from tests.steps.test_predict import film
from tests.training.tiny import REPOSITORY, arguments, run_step, tiny


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of the sample set, a film of 2.6 s, and text under the name of a film."""
    folder = tmp_path_factory.mktemp("videos")
    shutil.copyfile(sorted((tiny().root / "data" / "ingest" / "sample").rglob("*.mp4"))[0], folder / "-short.mp4")
    film(folder / "long.mp4", 2.6, sound=True)
    (folder / "broken.mp4").write_text("no film at all")
    return folder


def embed(out: Path, *files: Path, model: Path | None = None, dataset: Path | None = None, **changes: object) -> int:
    options = {"--dataset": dataset or tiny().dataset, "--model": model or tiny().pretrained, "--out": out}
    words = [*arguments("embed", **changes), *(str(word) for pair in options.items() for word in pair)]
    return main([*words, "--", *map(str, files)] if files else words)


@pytest.mark.parametrize("kind", ["pretrained", "classifier"])
def test_values_equal_the_models_own_passes(tmp_path: Path, kind: str) -> None:
    folder = tiny().pretrained if kind == "pretrained" else tiny().classifier()
    assert embed(tmp_path / "a.npz", model=folder, split="test", batch_size=3, features="tokens") == 0
    assert embed(tmp_path / "b.npz", model=folder, split="test", batch_size=8) == 0
    config, model = read_model(folder)
    model.eval()
    front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
    with np.load(tmp_path / "a.npz") as tokens, np.load(tmp_path / "b.npz") as pooled, torch.no_grad():
        for number, clip in enumerate(ClipSet(tiny().dataset).split("test")):
            members = clip.members()
            picture = decode_frame(members, 2, 32)
            raw = RawBatch.collate([decode_waveform(members)], [picture], config.fbank)
            audio, image = front_end.audio(raw), normalise_images(raw.frames)
            a, v = model.forward_feat(audio, image)
            joint = model.shared(torch.cat([model.stream_a(model.embed_a(audio)), model.stream_v(model.embed_v(image))], dim=1))
            for name, wanted in (("audio", a), ("video", v), ("joint", joint)):
                # kernels for other batch sizes round otherwise
                np.testing.assert_allclose(tokens[name][number], wanted[0].numpy(), atol=1e-5, rtol=1e-5)
                np.testing.assert_allclose(pooled[name][number], wanted[0].mean(dim=0).numpy(), atol=1e-6, rtol=1e-5)


def test_numbers_do_not_depend_on_the_batch_size_and_bytes_not_on_the_run(tmp_path: Path) -> None:
    for name, batch_size in (("a", 40), ("b", 7), ("c", 7)):
        assert embed(tmp_path / f"{name}.parquet", batch_size=batch_size) == 0
    assert (tmp_path / "b.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()
    left, right = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in "ab")
    assert len(left) == 48
    for one, other in zip(left, right, strict=True):
        for modality in ("audio", "video", "joint"):
            np.testing.assert_allclose(one.pop(modality), other.pop(modality), atol=1e-6, rtol=0)
        assert one == other


def test_the_file_says_which_model_and_data_made_it(tmp_path: Path) -> None:
    assert embed(tmp_path / "a.parquet", modality="audio", split="val", frames="all") == 0
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.names == ["video_id", "path", "split", "labels", "start_s", "end_s", "audio"]
    about = json.loads(schema.metadata[b"cavmae"])
    assert about["model"] == model_fingerprint(tiny().pretrained) and set(about["dataset"]) >= {"clips.parquet"}
    assert (about["features"], about["frames"], about["kind"]) == ("pooled", "all", "pretrained")
    assert about["shapes"] == {"audio": [32]}


def test_all_frames_change_what_sees_pictures_and_nothing_else(tmp_path: Path) -> None:
    for frames in ("middle", "all"):
        assert embed(tmp_path / f"{frames}.npz", split="test", frames=frames) == 0
    middle, every = np.load(tmp_path / "middle.npz"), np.load(tmp_path / "all.npz")
    np.testing.assert_array_equal(middle["audio"], every["audio"])
    assert all(np.abs(middle[name] - every[name]).max() > 1e-4 for name in ("video", "joint"))


def test_video_files_give_a_row_a_window_and_a_bad_one_is_named(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(videos)
    files = [Path("-short.mp4"), Path("broken.mp4"), Path("long.mp4")]
    assert embed(tmp_path / "a.parquet", *files, dataset=tmp_path / "nowhere", hop_s=0.5) == 0
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["path"] for row in rows] == ["-short.mp4"] + ["long.mp4"] * (len(rows) - 1) and len(rows) >= 4
    assert {(row["split"], tuple(row["labels"])) for row in rows} == {(None, ())}
    assert [row["start_s"] for row in rows[1:4]] == pytest.approx([0.0, 0.5, 1.0])
    assert [message for message in caplog.messages if "broken" in message] == [
        "embed: broken.mp4: cannot be used (not_media: The file is text under the name of a media file.)"
    ]
    assert embed(tmp_path / "b.npz", *files) == 0
    with np.load(tmp_path / "b.npz") as found:
        assert found["labels"].shape == (len(found["video_id"]), 0) and set(found["split"]) == {""}


def test_a_file_gives_the_features_that_its_clip_in_the_data_set_has(videos: Path, tmp_path: Path) -> None:
    """Frames of the data set went through JPEG, so the sound alone is equal."""
    sample = sorted((tiny().root / "data" / "ingest" / "sample").rglob("*.mp4"))[0]
    assert embed(tmp_path / "a.npz", sample, modality="audio") == 0
    assert embed(tmp_path / "b.npz", modality="audio") == 0
    one, every = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    (at,) = np.flatnonzero(every["video_id"] == one["video_id"][0])
    np.testing.assert_allclose(one["audio"][0], every["audio"][at], atol=1e-5)


def test_what_cannot_be_embedded_is_told_in_one_line(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "a.parquet"

    def refused(told: str, path: Path, *files: Path, **changes: Any) -> None:
        assert embed(path, *files, **changes) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.strip().splitlines()
        assert captured.out == "" and line.startswith("cavmae embed: ") and told in line, line

    refused("broken.mp4: cannot be used (not_media:", out, videos / "broken.mp4")
    refused("nowhere.mp4: no such file", out, videos / "nowhere.mp4")
    (tmp_path / "empty").mkdir()
    refused("not a validated data set", out, dataset=tmp_path / "empty")
    refused("config.json: no such file", out, model=tmp_path / "empty")
    refused("tokens are those of one picture: set frames=middle, or features=pooled", out, features="tokens", frames="all")
    refused("torch sees no GPU", out, device="cuda")
    refused("is a folder; name a file", tmp_path)
    refused("a.csv: its ending says no format; end it in .parquet or .npz, or set format", tmp_path / "a.csv")
    refused("ends in .parquet, but format is 'npz'; give --out embeddings.npz", out, format="npz")
    assert not out.exists() and list(tmp_path.glob("*.partial")) == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_read_and_what_others_wrote_is_not_overwritten(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(tiny().dataset.parent, tmp_path / "data") / tiny().dataset.name  # its shards lie beside it
    model = Path(shutil.copytree(tiny().pretrained, tmp_path / "model"))
    film = Path(shutil.copyfile(videos / "-short.mp4", tmp_path / "v.mp4"))
    np.savez(tmp_path / "mine.npz", a=np.arange(3))
    pq.write_table(pq.read_table(data / "clips.parquet"), tmp_path / "mine.parquet")
    (tmp_path / "link.npz").symlink_to(tmp_path / "mine.npz")
    before = contents(tmp_path)

    def refused(told: str, out: Path, *files: Path, **changes: Any) -> None:
        assert embed(out, *files, model=model, dataset=data, **changes) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"cavmae embed: {out}: {told}"), line

    refused("is an input, and would be replaced", film, film, format="parquet")
    refused(f"lies in {data}, an input", data / "clips.parquet")
    refused(f"lies in {data}, an input", data / "new.parquet", film)
    refused(f"lies in {model}, an input", model / "new.npz")
    refused("is a link", tmp_path / "link.npz")
    for name in ("mine.npz", "mine.parquet"):
        refused("would be replaced, and no earlier `cavmae embed` wrote it; name another file with --out", tmp_path / name)
    refused(f"cannot be made, {film} is not a folder", film / "a.npz")
    found = contents(tmp_path)
    assert before == {name: found[name] for name in found if not name.startswith("work/")}
    (tmp_path / "a.npz").touch()
    for name in ("a.npz", "a.npz", "b.parquet", "b.parquet"):  # an empty file, and earlier results
        assert embed(tmp_path / name, split="val", model=model, dataset=data) == 0


def test_features_that_are_not_finite_are_no_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path(shutil.copytree(tiny().pretrained, tmp_path / "broken"))
    state = load_file(broken / "model.safetensors")
    state["norm_v.bias"][0] = torch.nan
    save_file(state, broken / "model.safetensors")
    assert embed(tmp_path / "a.npz", model=broken, split="val") == 1
    assert "gives features that are not finite" in capsys.readouterr().err and not (tmp_path / "a.npz").exists()
    assert embed(tmp_path / "a.npz", model=broken, split="val", modality="audio") == 0


_EMBED_MANY = r"""
import re, sys
from pathlib import Path
from cavmae.dataset.loader import ClipSet
from tests.training.tiny import run_step

count, dataset, model, out = int(sys.argv[1]), *map(Path, sys.argv[2:])
read = ClipSet.__init__

def repeated(self, folder):
    read(self, folder)
    self.splits = {"train": (self.splits["train"] * count)[:count], "val": [], "test": []}

ClipSet.__init__ = repeated
run_step("embed", {"videos": [], "dataset": dataset, "model": model, "out": out}, features="tokens", batch_size=10)
# getrusage would also count the process that started this one
print(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_memory_does_not_grow_with_the_number_of_clips(tmp_path: Path, suffix: str) -> None:
    sizes = {"model__patch_size": 2, "model__audio_patch_size": 4, "model__embed_dim": 64}
    run_step("adapt", {"dataset": tiny().dataset, "model": tmp_path / "model"}, **sizes)
    peak, size = {}, {}
    for count in (100, 400):
        out = tmp_path / f"a.{suffix}"
        words = [sys.executable, "-c", _EMBED_MANY, str(count), str(tiny().dataset), str(tmp_path / "model"), str(out)]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        peak[count], size[count] = int(done.stdout) / 1024, out.stat().st_size / 2**20  # MiB
    assert size[400] - size[100] > 60
    assert peak[400] - peak[100] < 25, f"{peak} MiB at most, for files of {size}"
