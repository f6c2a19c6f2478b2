"""Whether the code that a lineage names is the code of the commit that it names."""

import io
import subprocess
import tarfile
from pathlib import Path

from cavmae.audit.findings import Audit
from cavmae.audit.line import Link
from cavmae.models.lineage import code_fingerprint, sources_fingerprint

_PACKAGE = Path(__file__).resolve().parent.parent


def check_code(audit: Audit, line: list[Link]) -> None:
    """Look once at each code that the line names; it is proved where this code, or that of the commit in git, has its hash."""
    seen: dict[tuple[str | None, str], list[str]] = {}
    for link in line:
        code = link.lineage.code
        seen.setdefault((code.commit if code.clean else None, code.sha256), []).append(link.lineage.step)
    for (commit, sha256), steps in seen.items():
        what = f"code of {', '.join(dict.fromkeys(steps))}"
        if commit is not None and (there := _fingerprint_at(commit)) is not None:
            audit.compare("code", what, sha256, there, f"commit {commit[:12]} in git")
        elif sha256 == code_fingerprint():
            by = f", and commit {commit[:12]} is not in this repository" if commit else ", no clean commit is named"
            audit.add("code", what, "proved", f"it is the code that audits{by}")
        else:
            audit.add(
                "code",
                what,
                "claimed",
                f"commit {commit[:12]} is not in this repository" if commit else "no clean commit is named",
            )


def _fingerprint_at(commit: str) -> str | None:
    """The SHA-256 over the library's sources at a commit, as `code_fingerprint` has it; None where git knows none."""
    try:
        packed = subprocess.run(
            ["git", "-C", str(_PACKAGE.parent), "archive", "--format=tar", commit, _PACKAGE.name],
            capture_output=True,
            timeout=120,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    sources: dict[Path, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".py"):
                file = archive.extractfile(member)
                assert file is not None
                sources[Path(member.name).relative_to(_PACKAGE.name)] = file.read()
    return sources_fingerprint(sources)
