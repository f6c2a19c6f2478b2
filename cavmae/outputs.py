"""What a command may replace: outputs of its own, and nothing that it reads or that anyone else put there.

Commands take any path as output and replace what lies there. These checks come before their work.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from cavmae.errors import InputError
from cavmae.storage import check_folder, read_json


@dataclass(frozen=True)
class Written:
    """What a command writes into its folder, by which an earlier output is known again.

    `files` are the names that lie in it, `below` those in folders of their own, with wildcards; `mark` tells by content.
    """

    command: str
    files: Collection[str]
    mark: Callable[[Path], bool]
    below: Collection[str] = ()


def check_replaceable(out: Path, inputs: Iterable[Path | None], ours: Written, option: str = "--out") -> None:
    """Raise InputError where the folder `out` cannot be written, or where replacing it would cost more than an earlier output.

    It must be no file and no link, lie apart from all `inputs` (None: not given), and hold nothing that is not `ours`.
    """
    check_folder(out)
    _check_apart(out, inputs, option)
    if out.is_dir():
        stranger = next(_strangers(out, ours), None)
        if stranger is None and any(out.iterdir()) and not _marked(out, ours.mark):
            stranger = min(path.name for path in out.iterdir())
        if stranger is not None:
            raise InputError(
                f"{out}: would be replaced as a whole, and holds {stranger!r}, which no earlier `cavmae {ours.command}` wrote; "
                f"name another folder with {option}"
            )
    _check_writable(out, option)


def check_replaceable_file(
    out: Path, inputs: Iterable[Path | None], command: str, mark: Callable[[Path], bool], option: str = "--out"
) -> None:
    """Raise InputError where the file `out` cannot be written, or where replacing it would cost more than an earlier output.

    As `check_replaceable`; `mark` tells whether a file that is there is an earlier output of the command. An empty one is no
    loss.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give {option} the name of a file")
    if out.is_symlink():
        raise InputError(f"{out}: is a link; give {option} the name of a file")
    _check_apart(out, inputs, option)
    if os.path.lexists(out) and not (out.is_file() and (not out.stat().st_size or _marked(out, mark))):
        raise InputError(f"{out}: would be replaced, and no earlier `cavmae {command}` wrote it; name another file with {option}")
    _check_writable(out, option)


def lineage_says(step: str) -> Callable[[Path], bool]:
    """A mark: the lineage in the folder says that `step` made it."""

    def mark(folder: Path) -> bool:
        document = read_json(folder / "lineage.json")
        return isinstance(document, dict) and document.get("step") == step

    return mark


def _check_apart(out: Path, inputs: Iterable[Path | None], option: str) -> None:
    place = Path(os.path.realpath(out))
    for path in inputs:
        if path is None:
            continue
        read = Path(os.path.realpath(path))
        if place == read:
            raise InputError(f"{out}: is an input, and would be replaced; name another place with {option}")
        if read.is_relative_to(place):
            raise InputError(f"{out}: would be replaced as a whole, and {path} lies in it; name another place with {option}")
        if place.is_relative_to(read):
            raise InputError(f"{out}: lies in {path}, an input; name another place with {option}")


def _strangers(folder: Path, ours: Written) -> Iterator[str]:
    """Names, relative to `folder`, of what no earlier output of the command has."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield path.name
        elif path.is_dir() and ours.below:
            inside = sorted(path.iterdir())
            yield from (f"{path.name}/{file.name}" for file in inside if not _is_one_of(file, ours.below))
        elif not _is_one_of(path, ours.files):
            yield path.name


def _is_one_of(path: Path, names: Collection[str]) -> bool:
    """Whether a path is a plain file with one of the names."""
    return path.is_file() and not path.is_symlink() and any(fnmatchcase(path.name, name) for name in names)


def _marked(path: Path, mark: Callable[[Path], bool]) -> bool:
    try:
        return mark(path)
    except InputError:  # the file that should say it is missing or damaged
        return False


def _check_writable(out: Path, option: str) -> None:
    above = next(folder for folder in Path(os.path.abspath(out)).parents if os.path.lexists(folder))
    for folder in (above, out) if out.is_dir() else (above,):
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(
                f"{out}: cannot be made, {folder} is not a folder that can be written to; name another with {option}"
            )
