"""Reading of a clip what a batch needs: the same as from its members, nothing more, and damage said in one line."""

import hashlib
import io
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest

from cavmae.dataset.clip_reader import ClipReader, Wanted
from cavmae.dataset.loader import ClipRecord
from cavmae.dataset.records import decode_waveform, encode_wav
from cavmae.dataset.tar import Shard, ShardWriter
from cavmae.errors import StepFailed
from cavmae.stores import Store, open_store
from tests.dataset.remote import Remote

RNG = np.random.default_rng(0)
WAVES = [RNG.integers(-9000, 9000, count).astype(np.int16) for count in (500, 900, 0, 1)]
CLIPS = {
    f"clip-{number}": {"json": b"{}", "wav": encode_wav(wave, 16000)}
    | {f"{frame}.jpg": bytes([number, frame]) * (20 + frame) for frame in range(4)}
    for number, wave in enumerate(WAVES)
}


def written(clips: dict[str, dict[str, bytes]], store: Store | None = None, path: Path | None = None) -> list[ClipRecord]:
    """Clips of one shard, in a folder or elsewhere."""
    file = io.BytesIO()
    writer = ShardWriter(file)
    places = {name: writer.add_clip(name, members) for name, members in clips.items()}
    writer.close()
    content = file.getvalue()
    if isinstance(store, Remote):
        store.contents["s.tar"] = content
        shard = store.shards()[-1]
    else:
        assert path is not None
        path.write_bytes(content)
        shard = Shard(open_store(str(path.parent)), path.name, len(content), hashlib.sha256(content).hexdigest())
    return [ClipRecord(name, "", "", (), shard, *place) for name, place in places.items()]


def read(clips: list[ClipRecord], frame: float = 0.6, width: int = 700) -> tuple[np.ndarray, list[tuple[int, str, bytes]]]:
    waveforms = np.full((len(clips), width), 77, dtype=np.int16)
    found = list(ClipReader().read([Wanted(clip, frame) for clip in clips], waveforms))
    return waveforms, [tuple(picked) for picked in found]


@pytest.mark.parametrize("where", ["folder", "remote"])
def test_samples_and_picture_are_those_of_the_members(tmp_path: Path, where: str) -> None:
    clips = written(CLIPS, Remote({}) if where == "remote" else None, tmp_path / "s.tar")
    for frame, name in ((0.0, "0.jpg"), (0.6, "2.jpg"), (0.9999, "3.jpg")):
        waveforms, found = read(clips, frame)
        for row, (samples, got, jpeg) in enumerate(found):
            assert (samples, got, jpeg) == (min(len(WAVES[row]), 700), name, CLIPS[f"clip-{row}"][name])
            assert np.array_equal(waveforms[row, :samples], WAVES[row][:700]) and not waveforms[row, samples:].any()


def test_of_a_shard_on_this_machine_only_what_is_needed_is_read(tmp_path: Path) -> None:
    large = {"json": b"{}", "wav": encode_wav(np.zeros(50_000, np.int16), 16000)}
    large |= {f"{frame}.jpg": b"\xff" * (4 << 20) for frame in range(3)} | {"3.jpg": b"picture"}
    clips = written({"large": large}, path=tmp_path / "s.tar")
    tracemalloc.start()
    _, found = read(clips, 0.9, 60_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0] == (50_000, "3.jpg", b"picture") and peak < 1 << 20


def test_another_kind_of_wav_is_read_as_it_always_was(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(WAVES[0].tobytes())
    plain = buffer.getvalue()
    # a chunk of remarks before the samples, as other programs write it
    remarked = plain[:4] + (len(plain) - 8 + 12).to_bytes(4, "little") + plain[8:36] + b"LIST\x04\0\0\0abcd" + plain[36:]
    assert np.array_equal(decode_waveform({"wav": remarked}), WAVES[0])
    clips = written({"a": CLIPS["clip-0"] | {"wav": remarked}}, path=tmp_path / "s.tar")
    waveforms, found = read(clips)
    assert found[0][0] == 500 and np.array_equal(waveforms[0, :500], WAVES[0])


def test_a_shard_that_is_missing_cut_or_of_another_size_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    clips = written(CLIPS, path=path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-512])
    with pytest.raises(StepFailed, match=rf"{path}: holds {len(whole) - 512} bytes, {len(whole)} when it was written") as caught:
        read(clips)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(StepFailed, match=f"{path}: shard is missing; run `cavmae extract` again"):
        read(clips)


@pytest.mark.parametrize("where", ["folder", "remote"])
def test_damage_to_what_is_read_is_seen_without_the_shards_hash(tmp_path: Path, where: str) -> None:
    remote, path = Remote({}), tmp_path / "s.tar"
    clips = written(CLIPS, remote if where == "remote" else None, path)
    clip = clips[1]
    whole = bytes(remote.contents["s.tar"] if where == "remote" else path.read_bytes())
    members = whole[clip.offset : clip.offset + clip.length]
    wav, picture = (clip.offset + members.index(f"clip-1.{suffix}".encode()) for suffix in ("wav", "2.jpg"))
    for at in (wav, wav + 130, wav + 257, picture + 3, picture + 150):
        damaged = whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]
        remote.contents["s.tar"] = damaged
        path.write_bytes(damaged)
        with pytest.raises(StepFailed, match="shard does not match its index") as caught:
            read(clips)
        assert "\n" not in str(caught.value) and clip.shard.store.uri("s.tar") in str(caught.value)


@pytest.mark.parametrize("end", [1, 511, 512, 600, 2000])
def test_a_shard_elsewhere_that_was_cut_short_is_said_in_one_line(end: int) -> None:
    remote = Remote({})
    clips = written(CLIPS, remote)
    remote.contents["s.tar"] = remote.contents["s.tar"][: clips[1].offset + end]
    with pytest.raises(StepFailed, match=r"s3://bucket/shards/s\.tar, byte \d+: shard does not match its index"):
        read(clips)
    remote.delete("s.tar")
    with pytest.raises(StepFailed, match=r"s3://bucket/shards/s\.tar: shard is missing"):
        read(clips)


def test_a_clip_without_the_member_that_is_wanted_is_said(tmp_path: Path) -> None:
    for missing in ("wav", "2.jpg"):
        clips = written({"a": {name: held for name, held in CLIPS["clip-0"].items() if name != missing}}, path=tmp_path / "s.tar")
        with pytest.raises(StepFailed, match=f"{missing} is not among the clip's members"):
            read(clips, 0.7)
