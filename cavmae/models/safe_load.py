"""Reading files that torch wrote, without running code that may stand in them."""

import argparse
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

_ZIP = b"PK\x03\x04"
_OBJECT = re.compile(r"(?:GLOBAL|class|function|Type) ([\w.]+\.[\w.]+)")
_OTHERS = (
    (re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE), "it is a web page: the download did not give the file itself"),
    (re.compile(rb"version https://git-lfs"), "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"),
)


def load_safely(path: Path, mapped: bool = False) -> Any:
    """Return what `torch.save` wrote to `path`: tensors, numbers, text and collections of them, on the CPU.

    With `mapped`, tensors stay in the file until they are used, where its format allows it. Raises FileNotFoundError, and
    ValueError with the reason in one line for all else that cannot be read.
    """
    start = _first_bytes(path)
    for pattern, reason in _OTHERS:
        if pattern.match(start):
            raise ValueError(reason)
    packed = start.startswith(_ZIP)
    if packed:
        _check_archive(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # about a file that is no pickle, what follows says more
            warnings.simplefilter("ignore")
            # facebookresearch/mae keeps its command line beside the weights: a Namespace holds values and does nothing
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and packed)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise ValueError(_reason(error)) from None


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def _check_archive(path: Path) -> None:
    """Raise ValueError for an archive that is damaged, or that says it holds more than the file can.

    torch's reader looks at no checksum, and would unpack what `torch.save` never packs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if not any(member.filename.endswith("/data.pkl") for member in members):
                raise ValueError("it is an archive of another kind than torch.save writes")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("it is packed in a way that torch.save does not pack")
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise ValueError("it says that it holds more than it does")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is damaged or not complete, copy or download it again: {_plain(str(error))}") from None
    if damaged is not None:
        raise ValueError(f"it is damaged, copy or download it again: wrong checksum of {_plain(damaged)}")


def _reason(error: Exception) -> str:
    """One line of what torch says in many, and without its advice to trust the file."""
    message = str(error).strip()
    found = _OBJECT.search(message)
    if found:
        return f"it holds the Python object {found[1]}, not numbers alone; save model.state_dict() instead"
    if isinstance(error, RuntimeError) and message and "weights_only" not in message:
        return _plain(message)
    return "torch.save did not write it, or it is damaged"


def _plain(text: str) -> str:
    """The first line, without what a terminal would take for commands: names within a file are not to be trusted."""
    return "".join(character if character.isprintable() else "?" for character in (text.splitlines() or [""])[0][:120])
