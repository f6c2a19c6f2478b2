"""Writing a tar shard with normalised headers, and reading one clip's members back from a slice of it."""

import io
import tarfile
from typing import IO, NamedTuple

from cavmae.errors import StepFailed
from cavmae.stores import Absent, Store


class ShardWriter:
    """Writes an uncompressed tar whose bytes depend on the members alone: no time, owner or mode of this machine."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def add_clip(self, video_id: str, members: dict[str, bytes]) -> tuple[int, int]:
        """Append `<video_id>.<suffix>` for each member; return the clip's offset in the file and its length in bytes."""
        start = self._file.tell()
        for suffix, content in members.items():
            info = tarfile.TarInfo(f"{video_id}.{suffix}")
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))
        return start, self._file.tell() - start

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()


class Shard(NamedTuple):
    """A tar in a store."""

    store: Store
    name: str


def read_clip_members(shard: Shard, offset: int, length: int) -> dict[str, bytes]:
    """Return `{suffix: content}` of the clip at `offset`; raises StepFailed where the shard is not what its index says."""
    uri = shard.store.uri(shard.name)
    try:
        block = shard.store.read_range(shard.name, offset, length)
        if len(block) != length:
            raise ValueError(f"it ends {length - len(block)} bytes early")
        return parse_members(block)
    except Absent:
        raise StepFailed(missing(uri)) from None
    except ValueError as error:
        raise StepFailed(f"{uri}, byte {offset}: shard does not match its index ({error}); run `cavmae extract` again") from None


def missing(uri: str) -> str:
    """What is said of a shard that is not where it should be."""
    return f"{uri}: shard is missing; run `cavmae extract` again, or fetch it (`dvc pull`) where the data is shared"


def parse_members(block: bytes) -> dict[str, bytes]:
    """Split consecutive tar members (headers and padded contents) into `{suffix: content}`; ValueError for anything else."""
    members: dict[str, bytes] = {}
    at = 0
    while at + 512 <= len(block):
        header = block[at : at + 512]
        # POSIX 1003.1 ustar: the sum of the header's bytes, with blanks in place of the sum itself, stands in it in octal
        total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if header[257:262] != b"ustar" or header[148:156].rstrip(b"\0 ") != b"%06o" % total:
            raise ValueError(f"no tar member at byte {at}")
        name = header[:100].rstrip(b"\0").decode("ascii")
        size = int(header[124:136].rstrip(b"\0 "), 8)
        content = block[at + 512 : at + 512 + size]
        if len(content) != size:
            raise ValueError(f"no whole tar member at byte {at}")
        members[name.partition(".")[2]] = content
        at += 512 + (size + 511) // 512 * 512
    return members
