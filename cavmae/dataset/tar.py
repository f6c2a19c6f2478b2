"""Writing a tar shard with normalised headers, and reading one clip's members back from a slice of it."""

import io
import tarfile
from pathlib import Path
from typing import IO

from cavmae.errors import StepFailed


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


def read_clip_members(path: Path, offset: int, length: int) -> dict[str, bytes]:
    """Return `{suffix: content}` of the clip at `offset`; raises StepFailed where the shard is not what its index says."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            block = file.read(length)
        if len(block) != length:
            raise ValueError(f"it ends {length - len(block)} bytes early")
        return parse_members(block)
    except FileNotFoundError:
        raise StepFailed(
            f"{path}: shard is missing; run `cavmae extract` again, or `dvc pull` where the data is shared"
        ) from None
    except (OSError, ValueError) as error:
        raise StepFailed(f"{path}, byte {offset}: shard does not match its index ({error}); run `cavmae extract` again") from None


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
