"""What the images are built from: the commit, whether the files are that commit's, its time, and the library's version."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client import Refused, ask

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("data", "train")
# .dockerignore lets these into the build and nothing else
SOURCES = (
    "cavmae",
    "components",
    "pipelines",
    "recipes",
    "requirements",
    "docker/Dockerfile",
    "docker/install.sh",
    "docker/with-settings.sh",
    "params.yaml",
    "pyproject.toml",
    "README.md",
    ".dockerignore",
)


@dataclass(frozen=True)
class Revision:
    """`commit` is 40 digits, with `-dirty` behind them where the files differ from it; `created` is the commit's time, UTC."""

    commit: str
    created: str
    version: str

    @property
    def dirty(self) -> bool:
        """Whether the files are not those of the commit."""
        return self.commit.endswith("-dirty")


def known_targets(words: Sequence[str]) -> tuple[str, ...]:
    """Return the targets that are named, or all where none is; raises Refused for an unknown one."""
    if unknown := [word for word in words if word not in TARGETS]:
        raise Refused(f"no image {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    return tuple(words) or TARGETS


def image_name(target: str, built_from: Revision) -> str:
    """Return the name of an image: the target, and the commit that it is built from."""
    return f"cavmae-{target}:{built_from.commit}"


def revision() -> Revision:
    """Return what this working copy would be built as; raises Refused where it is none of git's."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = ask([*git, "rev-parse", "--verify", "HEAD"])
        changes = ask([*git, "status", "--porcelain", "--", *SOURCES])
        created = datetime.fromtimestamp(int(ask([*git, "show", "--no-patch", "--format=%ct", "HEAD"])), UTC)
    except FileNotFoundError:
        raise Refused("git is not installed, and an image is named after its commit") from None
    except Refused as refused:
        raise Refused(f"{ROOT}: an image is named after its git commit, and there is none ({refused})") from None
    version_file = ROOT / "cavmae" / "__init__.py"
    found = re.search(r'^__version__ = "([^"]+)"$', version_file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise Refused(f"{version_file}: says no __version__")
    return Revision(f"{commit}-dirty" if changes else commit, f"{created:%Y-%m-%dT%H:%M:%SZ}", found[1])
