"""Writing a tar shard with normalised headers, and reading one clip's members back from a slice of it."""

import io
import tarfile
from typing import IO, NamedTuple

from cavmae.errors import StepFailed
from cavmae.stores import Absent, Store

BLOCK = 512  # bytes of a header, and what contents are padded to


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
    """A tar in a store; size and SHA-256 are what its record says, where it says so."""

    store: Store
    name: str
    bytes: int | None = None
    sha256: str | None = None


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
        raise mismatch(uri, offset, error) from None


def mismatch(uri: str, offset: int, error: ValueError) -> StepFailed:
    """What is raised of a shard that is not what its index says."""
    return StepFailed(f"{uri}, byte {offset}: shard does not match its index ({error}); run `cavmae extract` again")


def missing(uri: str) -> str:
    """What is said of a shard that is not where it should be."""
    return f"{uri}: shard is missing; run `cavmae extract` again, or fetch it (`dvc pull`) where the data is shared"


def parse_members(block: bytes) -> dict[str, bytes]:
    """Split consecutive tar members (headers and padded contents) into `{suffix: content}`; ValueError for anything else."""
    members: dict[str, bytes] = {}
    at = 0
    while at + BLOCK <= len(block):
        member = check_header(block[at : at + BLOCK], at)
        content = block[at + BLOCK : at + BLOCK + member.size]
        if len(content) != member.size:
            raise ValueError(f"no whole tar member at byte {at}")
        members[member.suffix] = content
        at += member.span
    return members


class Member(NamedTuple):
    """What a header says: the part of the name behind the clip's, and the size of the content."""

    suffix: str
    size: int

    @property
    def span(self) -> int:
        """Bytes from this header to the next."""
        return BLOCK + (self.size + BLOCK - 1) // BLOCK * BLOCK


def read_header(header: bytes, at: int) -> Member:
    """Read a header of 512 bytes that stands at byte `at`; raises ValueError where it is none, but does not look at its sum."""
    if len(header) != BLOCK or header[257:262] != b"ustar":
        raise ValueError(f"no tar member at byte {at}")
    size = header[124:135]
    if not size.isdigit():
        raise ValueError(f"no tar member at byte {at}")
    return Member(header[:100].rstrip(b"\0").partition(b".")[2].decode("ascii"), int(size, 8))


def check_header(header: bytes, at: int) -> Member:
    """Read a header as `read_header`, and raise ValueError where its sum shows damage as well."""
    # POSIX 1003.1 ustar: the sum of the header's bytes, with blanks in place of the sum itself, stands in it in octal
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if header[148:156].rstrip(b"\0 ") != b"%06o" % total:
        raise ValueError(f"no tar member at byte {at}")
    return read_header(header, at)
