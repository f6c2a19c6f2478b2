"""Reading and writing files so that nothing partial is ever left looking whole."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cavmae.errors import InputError

PARTIAL = ".partial"
_LEFTOVER = re.compile(r".+\.[0-9]+\.partial")
_BLOCK = 1 << 20


@contextmanager
def write_atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, on failure removed.

    The name is flushed as well: after a loss of power there is the old content or the new one. An OSError names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        flush_file(partial)
        os.replace(partial, path)
        flush_folder(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial), partial):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def flush_file(path: Path) -> None:
    """Return when the file's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk, where its file system can tell."""
    with suppress(OSError):
        flush_file(path)


def remove_leftovers(folder: Path, process: int | None = None, name: str | None = None) -> None:
    """Remove what killed runs left of `write_atomic` directly in `folder`: all, of that process, or of the file `name`."""
    for leftover in folder.glob(f"*.{process or '*'}{PARTIAL}"):
        if _LEFTOVER.fullmatch(leftover.name) and name in (None, leftover.name.rsplit(".", 2)[0]):
            leftover.unlink(missing_ok=True)


def check_folder(path: Path) -> None:
    """Raise InputError where `path` is no place for a folder that is replaced as a whole: a file, a link, the current folder.

    A folder that the current one lies in holds more than the work of one step.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path}: is a file or a link, where a folder is to be written; name a folder of its own")
    if Path.cwd().is_relative_to(path.resolve()):
        raise InputError(f"{path}: would be replaced as a whole, and the current folder lies in it; name a folder of its own")


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, on failure it is removed.

    A run that was killed leaves at most `<name>.partial` and `<name>.old.partial`, which the next run clears away; `path` is
    then the old folder, the new one or missing, and never a part of either. Raises InputError as `check_folder`.
    """
    path = Path(os.path.abspath(path))
    check_folder(path)
    partial, old = path.with_name(path.name + PARTIAL), path.with_name(f"{path.name}.old{PARTIAL}")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        _flush_tree(partial)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(partial, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        flush_folder(path.parent)
    finally:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _flush_tree(folder: Path) -> None:
    """Return when all that lies in a folder is on the disk."""
    for path in folder.rglob("*"):
        if path.is_dir():
            flush_folder(path)
        elif path.is_file() and not path.is_symlink():
            flush_file(path)
    flush_folder(folder)


def to_json(value: Any) -> str:
    """Return `value` as sorted, indented JSON: equal values give equal bytes. NaN and infinity raise ValueError."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as `to_json` prints it."""
    with write_atomic(path) as partial:
        partial.write_text(to_json(value), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`; a missing or malformed file raises InputError."""
    try:
        return parse_json(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def parse_json(text: str, where: str) -> Any:
    """Return the JSON value in a text that comes from `where`; raises InputError for a malformed one."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}, line {error.lineno}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise InputError(f"{where}: not valid JSON ({str(error).partition(';')[0]})") from None


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits; memory stays at one megabyte."""
    return _hashed(path, hashlib.sha256())


def md5_file(path: Path) -> str:
    """Return the MD5 of a file's content as 32 hexadecimal digits, by which DVC names it; memory stays at one megabyte."""
    return _hashed(path, hashlib.md5(usedforsecurity=False))


def _hashed(path: Path, digest: "hashlib._Hash") -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON: the key under which work on that value can be found again."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()


def work_folder(*parts: str) -> Path:
    """Return a folder for state that a stopped run needs to continue; it is no output of any step.

    It lies in `.cavmae` below the current folder, or where the environment variable CAVMAE_WORK says.
    """
    return Path(os.environ.get("CAVMAE_WORK", ".cavmae")).joinpath(*parts)
