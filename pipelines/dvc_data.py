"""Data and models that DVC tracks, by version: `dvc:PATH[@REV]` becomes the address of the object on the DVC remote.

Nothing is copied: what DVC pushed is what the cluster reads. A directory's object is the list of its files (`….dir`), a JSON of
names and hashes; each file is an object of its own beside it.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from cavmae.errors import InputError, StepFailed
from pipelines.answers import one_line

PREFIX = "dvc:"
_MISSING_SHOWN = 3


class Tracked(NamedTuple):
    """What a `dvc:` value stands for: the object's address on the remote, its hash, and the path and commit that were meant."""

    location: str
    hash: str
    path: str
    commit: str


def resolve_dvc(value: str, repository: Path) -> Tracked:
    """Return what `dvc:PATH[@REV]` stands for in the DVC repository that the folder `repository` lies in.

    REV is anything that git knows; without it, HEAD, and then the working tree must not say otherwise. Raises InputError where
    git or DVC do not know revision or path, the remote cannot be read by the pipelines, or lacks an object (`dvc push`);
    StepFailed where it does not answer.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ImportError:
        raise InputError(f"{value}: DVC is not installed here; install requirements/dev.txt") from None

    path, revision = _parts(value)
    try:
        root = Repo.find_root(str(repository))
        relative = _relative(value, path, repository, Path(root))
        with Repo.open(root, rev=revision or "HEAD") as repo:
            commit = str(repo.get_rev())
            output = _output(repo, relative, f"{value} at {commit[:12]}")
            if not revision:
                _check_unchanged(root, relative, output.hash_info, value, commit)
        with Repo(root) as repo:  # where the remote is today, with the credentials of config.local
            return Tracked(_location(repo, output, value), output.hash_info.value, relative, commit)
    except DvcException as error:
        raise InputError(f"{value}: {one_line(error, 200)}") from None


def _parts(value: str) -> tuple[str, str]:
    """Path and revision; a path with an `@` in it must come with a revision."""
    path, at, revision = value.removeprefix(PREFIX).rpartition("@")
    if not at:
        path, revision = revision, ""
    if not path or (at and not revision) or revision.startswith("-") or not revision.isprintable():
        raise InputError(f"{value!r}: write dvc:PATH or dvc:PATH@REVISION")
    return path, revision


def _relative(value: str, path: str, repository: Path, root: Path) -> str:
    """The path from the root of the DVC repository on."""
    try:
        # not resolve(): the last part may be a link into DVC's cache
        return Path(os.path.abspath(repository.resolve() / path)).relative_to(root.resolve()).as_posix()
    except ValueError:
        raise InputError(f"{value}: lies outside of the DVC repository {root}") from None


def _output(repo: Any, relative: str, what: str) -> Any:
    from dvc.exceptions import OutputNotFoundError

    try:
        output = repo.find_outs_by_path(str(Path(repo.root_dir) / relative))[0]
    except OutputNotFoundError:
        raise InputError(
            f"{what}: DVC tracks nothing of that name there; name a whole output, and commit dvc.lock or the .dvc file"
        ) from None
    if not output.hash_info or not output.use_cache:
        raise InputError(f"{what}: DVC keeps no version of it; run `dvc commit`, and see that it is cached")
    if output.hash_name != "md5":
        raise InputError(f"{what}: its hash is of an old kind ({output.hash_name}); run `dvc cache migrate` and commit")
    return output


def _check_unchanged(root: str, relative: str, committed: Any, value: str, commit: str) -> None:
    """Raise InputError where dvc.lock or the .dvc file names other data than the commit does: which is meant is open."""
    from dvc.exceptions import OutputNotFoundError
    from dvc.repo import Repo

    with Repo(root) as repo:
        try:
            here = repo.find_outs_by_path(str(Path(root) / relative))[0].hash_info
        except OutputNotFoundError:
            here = None
    if here != committed:
        raise InputError(
            f"{value}: dvc.lock or the .dvc file names other data than commit {commit[:12]}; commit it, or write {value}@HEAD"
        )


def _location(repo: Any, output: Any, value: str) -> str:
    """Address of the output's object; all that it needs must be on the remote."""
    from dvc.exceptions import DvcException

    remote = repo.cloud.get_remote_odb(output.remote, hash_name=output.hash_name)
    protocol = remote.fs.protocol if isinstance(remote.fs.protocol, str) else remote.fs.protocol[0]
    if protocol not in ("local", "file", "s3"):
        raise InputError(f"{value}: the DVC remote is {protocol}://; the pipelines read s3:// and folders")
    oid = output.hash_info.value
    try:
        missing = _missing(remote, output)
    except DvcException:
        raise
    except Exception as error:  # each kind of remote raises its own client's errors
        raise StepFailed(f"{value}: the DVC remote {remote.path} cannot be read ({one_line(error, 200)})") from None
    if missing:
        names = ", ".join(missing[:_MISSING_SHOWN]) + ("" if len(missing) <= _MISSING_SHOWN else ", …")
        raise InputError(f"{value}: the DVC remote {remote.path} lacks {names}; run `dvc push` first")
    address = remote.oid_to_path(oid)
    return f"s3://{address.removeprefix('s3://')}" if protocol == "s3" else str(address)


def _missing(remote: Any, output: Any) -> list[str]:
    """Names of what the remote lacks: the output itself, or files in it."""
    from dvc_data.hashfile.tree import Tree

    oid = output.hash_info.value
    try:
        remote.fs.info(remote.oid_to_path(oid))  # exists() says no where it only could not ask
    except FileNotFoundError:
        return [output.def_path]
    if not output.hash_info.isdir:
        return []
    files = {entry.value: "/".join(key) for key, _, entry in Tree.load(remote, output.hash_info, hash_name=output.hash_name)}
    return sorted(files[missing] for missing in files.keys() - set(remote.oids_exist(list(files))))
