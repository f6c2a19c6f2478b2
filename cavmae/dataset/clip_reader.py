"""Reading of clips only what a batch needs: the samples, straight to where they are wanted, and one of the pictures."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cavmae.dataset.loader import ClipRecord
from cavmae.dataset.records import WAV_HEAD, decode_waveform, is_plain_wav
from cavmae.dataset.shard_cache import ShardCache
from cavmae.dataset.tar import BLOCK, Member, Shard, check_header, mismatch, missing, read_header
from cavmae.errors import StepFailed
from cavmae.stores import Absent, ahead
from cavmae.stores_folder import FolderStore


class Wanted(NamedTuple):
    """A clip, and where among its pictures the wanted one stands, from 0 to below 1.

    Whether to wait (`waits`) for its shard, where that is on its way into the cache, or to read the clip alone.
    """

    clip: ClipRecord
    frame: float
    waits: bool = True


class Picked(NamedTuple):
    """What was read of a clip beside its samples: how many those are, and the picture's name and content."""

    samples: int
    name: str
    jpeg: bytes


class ClipReader:
    """Reads from shards that lie in a folder, or in the cache, what is needed of them, and whole clips from shards on S3.

    A shard that is missing, of another size than its record says, or damaged raises StepFailed that names it.
    """

    def __init__(self, cache: ShardCache | None = None) -> None:
        self.cache = cache

    def read(self, wanted: Sequence[Wanted], waveforms: np.ndarray) -> Iterator[Picked]:
        """Put the samples of clips into the rows of `waveforms` int16 [B, S], zeros behind them; yield the rest, in order."""

        def one(row: int) -> Picked:
            return self._read(wanted[row], waveforms[row])

        remote = [item.clip.shard.store for item in wanted if not isinstance(item.clip.shard.store, FolderStore)]
        return ahead(one, range(len(wanted)), remote[0].threads if remote else 1)

    def _read(self, wanted: Wanted, waveform: np.ndarray) -> Picked:
        clip = wanted.clip
        path = self._path(clip.shard, wanted.waits)
        if path is None:
            return self._picked(wanted, waveform, _Held(_whole(clip), clip.offset))
        try:
            with closing(_Opened(path)) as file:
                _check_size(clip.shard, file.size)
                return self._picked(wanted, waveform, file)
        except FileNotFoundError:
            if isinstance(clip.shard.store, FolderStore):
                raise StepFailed(missing(clip.shard.store.uri(clip.shard.name))) from None
            # another process made room in the cache
            return self._picked(wanted, waveform, _Held(_whole(clip), clip.offset))
        except OSError as error:
            raise StepFailed(f"{path}: {error.strerror or error}") from None

    def _path(self, shard: Shard, waits: bool) -> Path | None:
        """Where on this machine a shard lies, if it does."""
        if isinstance(shard.store, FolderStore):
            return shard.store.root / shard.name
        return self.cache.path(shard, waits) if self.cache is not None else None

    def _picked(self, wanted: Wanted, waveform: np.ndarray, source: "_Source") -> Picked:
        clip = wanted.clip
        try:
            members = _members(source, clip.offset, clip.length)
            frames = sum(suffix.endswith(".jpg") for suffix in members)
            name = f"{int(wanted.frame * frames)}.jpg"
            if "wav" not in members or name not in members:
                raise ValueError(f"{'wav' if 'wav' not in members else name} is not among the clip's members")
            samples = _read_samples(source, *members["wav"], waveform)
            waveform[samples:] = 0
            return Picked(samples, name, _content(source, *members[name]))
        except ValueError as error:
            raise mismatch(clip.shard.store.uri(clip.shard.name), clip.offset, error) from None


class _Source(Protocol):
    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` in the shard, fewer at its end."""
        ...

    def read_into(self, offset: int, target: memoryview) -> int:
        """The same into `target`; returns how many bytes there were."""
        ...


class _Opened:
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._handle).st_size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._handle, length, offset)

    def read_into(self, offset: int, target: memoryview) -> int:
        done = 0
        while done < len(target) and (got := os.preadv(self._handle, [target[done:]], offset + done)):
            done += got
        return done

    def close(self) -> None:
        os.close(self._handle)


class _Held:
    """A clip's slice of a shard, from `start`, that was read as a whole."""

    def __init__(self, block: bytes, start: int) -> None:
        self._block, self._start = block, start

    def read(self, offset: int, length: int) -> bytes:
        return self._block[offset - self._start : offset - self._start + length]

    def read_into(self, offset: int, target: memoryview) -> int:
        content = self.read(offset, len(target))
        target[: len(content)] = content
        return len(content)


def _whole(clip: ClipRecord) -> bytes:
    store, name = clip.shard.store, clip.shard.name
    try:
        return store.read_range(name, clip.offset, clip.length)
    except Absent:
        raise StepFailed(missing(store.uri(name))) from None


def _check_size(shard: Shard, size: int) -> None:
    if shard.bytes is not None and size != shard.bytes:
        raise StepFailed(
            f"{shard.store.uri(shard.name)}: holds {size} bytes, {shard.bytes} when it was written; run `cavmae extract` again"
        )


def _members(source: _Source, offset: int, length: int) -> dict[str, tuple[int, Member]]:
    """Where the members of a clip lie, each with what its header says; raises ValueError where they do not fill its slice."""
    members: dict[str, tuple[int, Member]] = {}
    at = offset
    while at < offset + length:
        member = read_header(source.read(at, BLOCK), at)
        members[member.suffix] = at, member
        at += member.span
    if at != offset + length:
        raise ValueError(f"its members end at byte {at} instead of {offset + length}")
    return members


def _content(source: _Source, at: int, member: Member) -> bytes:
    block = source.read(at, BLOCK + member.size)
    check_header(block[:BLOCK], at)
    if len(block) != BLOCK + member.size:
        raise ValueError(f"no whole tar member at byte {at}")
    return block[BLOCK:]


def _read_samples(source: _Source, at: int, member: Member, waveform: np.ndarray) -> int:
    """Read the samples of a WAV into `waveform` int16 [S], as many as there are or fit; return how many."""
    block = source.read(at, BLOCK + WAV_HEAD)
    check_header(block[:BLOCK], at)
    if not is_plain_wav(block[BLOCK:], member.size):
        found = decode_waveform({"wav": _content(source, at, member)})[: len(waveform)]
        waveform[: len(found)] = found
        return len(found)
    samples = min((member.size - WAV_HEAD) // 2, len(waveform))
    target = waveform[:samples].data.cast("B")
    if source.read_into(at + BLOCK + WAV_HEAD, target) != len(target):
        raise ValueError(f"no whole tar member at byte {at}")
    return samples
