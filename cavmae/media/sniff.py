"""Cheap looks at a file before it is decoded."""

import stat
from pathlib import Path

from cavmae.media.clip import MediaRejected
from cavmae.media.container import MEDIA_ERRORS, open_container, seconds

HEAD_BYTES = 4096
_LFS_POINTER = b"version https://git-lfs"
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\b\x1b")
# Between the end that a header promises and the last packet: sound and picture rarely end together.
_END_TOLERANCE_S = 2.0


def sniff(path: Path) -> None:
    """Reject what needs no decoder to be seen as no media: empty, text (HTML, git-lfs pointers, playlists), not a file.

    Raises MediaRejected with `unreadable_file`, `not_media` or `empty_file`. Playlists are text too: refusing them
    keeps a file from making FFmpeg read other files or addresses.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MediaRejected("not_media", "This is not a regular file.")
        if status.st_size == 0:
            raise MediaRejected("empty_file", "The file has no content.")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise MediaRejected("unreadable_file", f"The file cannot be read ({error.__class__.__name__}).") from None
    sniff_head(head)


def sniff_head(head: bytes) -> None:
    """Reject a file by its first HEAD_BYTES bytes (fewer where it is shorter): MediaRejected `empty_file` or `not_media`."""
    if not head:
        raise MediaRejected("empty_file", "The file has no content.")
    if head.startswith(_LFS_POINTER):
        raise MediaRejected("not_media", "The file is a git-lfs pointer; fetch the content with 'git lfs pull'.")
    if _is_text(head):
        kind = "an HTML page" if b"<html" in head.lower() or b"<!doctype html" in head.lower() else "text"
        raise MediaRejected("not_media", f"The file is {kind} under the name of a media file.")


def media_duration(path: Path) -> float | None:
    """Return the duration in seconds that the header states, or None where there is none or the content contradicts it.

    One seek to the stated end tells: a file cut short, or a header that lies, has no packet there. Nothing is decoded.
    A file that cannot be opened raises MediaRejected.
    """
    sniff(path)
    with open_container(path) as container:
        if not container.duration or container.duration < 0:
            return None
        stated_s = container.duration / 1_000_000
        start_s = (container.start_time or 0) / 1_000_000
        reached_s = 0.0
        try:
            if stated_s > 2 * _END_TOLERANCE_S:
                container.seek(int((start_s + stated_s - _END_TOLERANCE_S / 2) * 1_000_000))
            for packet in container.demux():
                if packet.dts is not None or packet.pts is not None:
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    reached_s = max(reached_s, seconds((stamp or 0) + (packet.duration or 0), packet.time_base) - start_s)
                if reached_s >= stated_s - _END_TOLERANCE_S / 2:
                    return stated_s
        except MEDIA_ERRORS:
            return None
        return stated_s if reached_s >= stated_s - _END_TOLERANCE_S else None


def _is_text(head: bytes) -> bool:
    """Tell whether the bytes read as UTF-8 text without control characters (a cut last character is forgiven)."""
    if any(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in head):
        return False
    for cut in range(4):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False
