"""A folder that DVC tracks, as its remote or cache keeps it: a list of names and hashes, and every content under its hash."""

from pathlib import Path, PurePosixPath

from cavmae.dataset.sources.candidate import ELSEWHERE, Candidate, portable
from cavmae.dataset.sources.stored import StoredFile, is_hidden, label_of, stem_of
from cavmae.dvc_objects import FOLDER_ENDING, DvcObject, listed, object_place
from cavmae.errors import InputError
from cavmae.stores import is_remote


def directory_md5(source: str) -> str | None:
    """Return the MD5 in the name of a DVC directory object, or None where the name is not that of one."""
    found = DvcObject.at(source)
    return found.md5 if found is not None and found.is_folder else None


def same_directory(source: str) -> str:
    """Return what all versions of a tracked folder on one remote have in common; any other source as it is."""
    found = DvcObject.at(source)
    return f"{found.root}/*{FOLDER_ENDING}" if found is not None and found.is_folder else source


def read_dvc(source: str) -> list[Candidate]:
    """Return the files that a DVC directory object `<remote>/files/md5/ab/cdef….dir` lists, in sorted order.

    Their paths within the folder are what they are called by, and its sub-folders give the labels. Raises InputError where
    the object is not there, damaged, or names anything in a way that DVC does not.
    """
    found = DvcObject.at(source)
    if found is None or not found.is_folder:
        raise InputError(
            f"source {source}: is no directory object of DVC 3; its name is <remote>/files/md5/ab/cdef….dir "
            "(a prefix that ends like this needs a / behind it)"
        )
    root = found.root if is_remote(source) else portable(Path(found.root))
    name = PurePosixPath(source).name
    candidates = []
    for file in listed(found, f"source {source}"):
        if not is_hidden(file.path):
            stored = StoredFile(file.path, object_place(root, file.md5), None, file.md5, file.md5)
            where = f"{name}, {file.path}"
            candidates.append((file.path, Candidate(stem_of(file.path), ELSEWHERE, label_of(file.path), where, stored=stored)))
    if not candidates:
        raise InputError(f"source {source}: lists hidden files only")
    return [candidate for _, candidate in sorted(candidates, key=lambda pair: pair[0].encode("utf-8", "surrogatepass"))]
