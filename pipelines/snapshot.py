"""`python -m pipelines.snapshot NAME`: a commit, tagged cavmae/NAME, of tracked files and dvc.lock as they now are here.

A worker that retrains writes over dvc.lock each time, and nobody commits there. With its snapshot, an earlier retraining can
still be told: `cavmae audit --clip`, `cavmae data diff`, `dvc metrics diff` and `dvc push --all-commits` see it (DVC looks at
branches and tags only). Branch, index and files are left alone, hooks are not run, and a process that is killed leaves nothing
but objects that git collects.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cavmae.errors import StepFailed
from cavmae.git import git

_LOCK = "dvc.lock"
_PREFIX = "cavmae/"
_LONGEST = 200  # letters of a name; git keeps it as the name of a file
_NOBODY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "cavmae"), ("EMAIL", "cavmae@localhost"))
}


def snapshot(name: str, root: Path = Path()) -> str | None:
    """Keep the tracked files and dvc.lock of the checkout at `root` under `name`; return the commit, None outside a repository.

    What `name` held before becomes a parent of the commit: it is still found. Raises StepFailed with git's words.
    """
    if git("rev-parse", "--git-dir", at=root) is None:
        return None
    head = git("rev-parse", "--verify", "--quiet", "HEAD", at=root)
    known = git("var", "GIT_COMMITTER_IDENT", at=root) is not None and git("var", "GIT_AUTHOR_IDENT", at=root) is not None
    with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
        more = {"GIT_INDEX_FILE": str(Path(folder) / "index"), **({} if known else _NOBODY)}
        if head is not None:
            _git(root, more, "read-tree", head)
        _git(root, more, "add", "--update", "--", ":/")
        if (root / _LOCK).is_file():
            _git(root, more, "add", "--force", "--", _LOCK)
        tree = _git(root, more, "write-tree")
        earlier = git("rev-parse", "--verify", "--quiet", f"refs/tags/{_tag(name)}", at=root)
        parents = [word for parent in (head, earlier) if parent is not None for word in ("-p", parent)]
        commit = _git(root, more, "commit-tree", tree, *parents, "-m", f"As it was after the run {name}")
    _git(root, {}, "update-ref", f"refs/tags/{_tag(name)}", commit)
    return commit


def _tag(name: str) -> str:
    """A name that git takes: of a run that Airflow calls manual__2026-11-22T01:00:00+00:00, for example."""
    return _PREFIX + (re.sub(r"[^A-Za-z0-9_+-]+", "-", name).strip("-")[:_LONGEST] or "run")


def _git(root: Path, more: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepFailed(f"git {words[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """Keep a snapshot under the one argument; without git there is none, which is told and no failure."""
    if len(arguments) != 1 or not arguments[0]:
        sys.stderr.write("snapshot: name it with one word, such as the run's id\n")
        return 2
    try:
        commit = snapshot(arguments[0])
    except StepFailed as error:
        sys.stderr.write(f"snapshot: {error}\n")
        return 1
    if commit is None:
        sys.stderr.write(
            "snapshot: this is no git repository, or git is not there; an audit of the next run cannot look back to this one\n"
        )
    else:
        sys.stderr.write(f"snapshot: commit {commit}, tag {_tag(arguments[0])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
