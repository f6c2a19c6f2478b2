"""Clips to measure with: 10 s of 16 kHz sound and ten pictures of 224 pixels, in the original's layout and as our shards."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.steps import run
from cavmae.dataset.records import encode_wav
from cavmae.errors import InputError
from cavmae.storage import write_json

SECONDS, RATE, FRAMES, SIDE = 10, 16000, 10, 224
_VIDEO = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov"})
_QUALITY = 75  # of torchvision's save_image, which the original stores its pictures with
_LABELS = ("/m/one", "/m/two")


def videos_in(folder: Path, most: int) -> list[Path]:
    """Return up to `most` video files below a folder, evenly chosen by name; raises InputError where there is none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _VIDEO) if folder.is_dir() else []
    if not found:
        raise InputError(f"{folder}: holds no video; name a folder of some with --media")
    return found[:: max(1, len(found) // most)][:most]


def generated(count: int, seed: int = 0) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield sound int16 [160000] and pictures uint8 [224, 224, 3]: noise of many scales, as in a photograph."""
    for number in range(count):
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        sound = np.cumsum(rng.standard_normal(SECONDS * RATE, dtype=np.float32))
        sound -= np.convolve(sound, np.ones(400, dtype=np.float32) / 400, mode="same")
        waveform = (sound / np.abs(sound).max() * 20000).astype(np.int16)
        yield waveform, [_picture(rng) for _ in range(FRAMES)]


def _picture(rng: np.random.Generator) -> np.ndarray:
    total = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
    for cells in (4, 14, 56, 224):
        cell = rng.standard_normal((cells, cells, 3), dtype=np.float32) * 60 / cells**0.5
        for channel in range(3):
            enlarged = Image.fromarray(cell[:, :, channel]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            total[:, :, channel] += np.asarray(enlarged)
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def decoded(videos: Sequence[Path]) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield sound and pictures of video files, repeated or cut to 10 s; those that cannot be read are left out."""
    from cavmae.media.clip import ClipSettings, MediaRejected
    from cavmae.media.decode import read_clip

    settings = ClipSettings(FRAMES, SIDE, RATE, "official", 0.5, -80.0, 1 << 26)
    for video in videos:
        try:
            clip = read_clip(video, 0.0, float(SECONDS), settings)
        except MediaRejected:
            continue
        yield np.resize(clip.waveform, SECONDS * RATE), list(clip.frames)


def write_original_layout(folder: Path, clips: Iterator[tuple[np.ndarray, list[np.ndarray]]]) -> int:
    """Write data.json, labels.csv, audio/ID.wav and frames/frame_N/ID.jpg; return the number of clips."""
    (folder / "audio").mkdir(parents=True)
    for frame in range(FRAMES):
        (folder / "frames" / f"frame_{frame}").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number, (waveform, pictures) in enumerate(clips):
        name = f"clip{number:05d}"
        wav = folder / "audio" / f"{name}.wav"
        wav.write_bytes(encode_wav(waveform, RATE))
        for frame, picture in enumerate(pictures):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
            (folder / "frames" / f"frame_{frame}" / f"{name}.jpg").write_bytes(buffer.getvalue())
        label = _LABELS[number % len(_LABELS)]
        rows.append({"video_id": name, "wav": str(wav), "video_path": str(folder / "frames"), "labels": label})
    write_json(folder / "data.json", {"data": rows})
    lines = [f"{index},{mid},{mid[3:]}" for index, mid in enumerate(_LABELS)]
    (folder / "labels.csv").write_text("\n".join(["index,mid,display_name", *lines]) + "\n", encoding="utf-8")
    return len(rows)


def write_dataset(original: Path, work: Path) -> tuple[Path, Path]:
    """Bring clips in the original's layout through our own steps; return the validated data set and a model to start from."""
    clips, shards, dataset, model = (work / name for name in ("ingest", "shards", "validated", "adapted"))
    source = {"source": original / "data.json", "labels_csv": original / "labels.csv", "val_share": 0, "test_share": 0}
    run("ingest", source, out=clips)
    run("extract", {"frame_size": SIDE, "workers": 1}, clips=clips, out=shards)
    run("validate", {}, clips=clips, shards=shards, out=dataset)
    sizes = {"img_size": SIDE, "audio_length": 1024, "num_mel_bins": 128, "patch_size": 16, "embed_dim": 16, "num_heads": 2}
    sizes |= {"decoder_embed_dim": 16, "decoder_num_heads": 2}
    overrides = {"mean": -5.081, "std": 4.4849, **{f"model.{key}": value for key, value in sizes.items()}}
    run("adapt", overrides, dataset=dataset, model=model)
    return dataset, model
