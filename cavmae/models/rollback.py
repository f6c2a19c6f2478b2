"""Back to an earlier champion: the pointer moves, the history tells of it, and no version is changed."""

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import LINEAGE, WEIGHTS, model_fingerprint
from cavmae.models.lineage import files_told
from cavmae.models.registry import Champion, Entry, Promotion, Registry, entry_of, version_of
from cavmae.storage import sha256_file

_SHORTEST = 4  # digits that may stand for a version


def roll_back(registry: Registry, to: str | None, run_id: str, reason: str, wait_s: float) -> Promotion:
    """Make an earlier champion the champion again: `to`, or the one before the present. A run does so once.

    A version may be named by its first digits. Raises InputError where there is no such champion, where its files are not what
    was promoted, or where the run has done something else before, and StepFailed where somebody promotes meanwhile.
    """
    with registry.exclusive(wait_s):
        history = registry.history()
        champion = registry.read_champion()
        history = registry.complete(champion, history)
        earlier = next((entry for entry in history if entry.run_id == run_id), None)
        if earlier is not None:
            return _again(earlier, champion, to)
        if champion is None:
            raise InputError("the registry has no champion, so there is nothing to go back from")
        target = _before(history) if to is None else _named(to, history)
        if target.to_version == champion.version:
            raise InputError(f"version {champion.version} is the champion already")
        assert target.to_version is not None
        pointer = Champion(
            version=target.to_version,
            sha256=_intact(registry, target.to_version),
            run_id=run_id,
            decision=target.decision,
            from_version=champion.version,
            reason=reason,
            outcome="rolled_back",
        )
        if not registry.point(pointer, champion):
            raise StepFailed(
                "the champion has changed meanwhile: look at `cavmae history`, and run this again if it is still meant"
            )
        return Promotion(registry.tell(entry_of(pointer), history), pointer.version, changed=True)


def line_of_champions(history: list[Entry]) -> list[Entry]:
    """The promotions that led to the present champion, which comes last; what was rolled back is not among them."""
    line: list[Entry] = []
    promoted: dict[str | None, Entry] = {}
    for entry in history:
        if entry.outcome == "promoted":
            promoted[entry.to_version] = entry
            line.append(entry)
        elif entry.outcome == "rolled_back" and entry.to_version in promoted:
            versions = [one.to_version for one in line]
            if entry.to_version in versions:
                del line[len(versions) - versions[::-1].index(entry.to_version) :]
            else:  # forward again, to one that had been rolled back
                line.append(promoted[entry.to_version])
    return line


def _before(history: list[Entry]) -> Entry:
    line = line_of_champions(history)
    if len(line) < 2:
        raise InputError("there is no champion before the present one; `cavmae history` shows the versions, --to names one")
    return line[-2]


def _named(word: str, history: list[Entry]) -> Entry:
    found = {entry.to_version: entry for entry in history if entry.outcome == "promoted"}
    named = [entry for version, entry in found.items() if version and version.startswith(word)]
    if len(word) < _SHORTEST or len(named) != 1:
        why = "stands for several of them" if len(word) >= _SHORTEST and named else "is none of them"
        known = ", ".join(str(version) for version in found) or "there are none"
        raise InputError(f"--to {word!r}: name a version that was champion ({known}); this {why}")
    return named[0]


def _again(earlier: Entry, champion: Champion | None, to: str | None) -> Promotion:
    if earlier.outcome != "rolled_back" or (to is not None and not str(earlier.to_version).startswith(to)):
        raise InputError(f"run {earlier.run_id} has {earlier.outcome} {earlier.to_version} before; give another --run-id")
    return Promotion(earlier, champion.version if champion else None, changed=False)


def _intact(registry: Registry, version: str) -> str:
    """The SHA-256 of a version's weights, which its name begins with; what its lineage tells of other files is looked at too."""
    folder = registry.model_folder(version)
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder}: no such version; restore it")
    sha256 = model_fingerprint(folder)[WEIGHTS]
    if version_of(sha256) != version:
        raise InputError(f"{folder}: its {WEIGHTS} is not what was promoted; restore it")
    lineage = registry.lineage(version)
    if not isinstance(lineage, dict) or not isinstance(lineage.get("step"), str):
        raise InputError(f"{folder / LINEAGE}: is no lineage; restore it")
    for name, wanted in files_told(lineage).items():
        if not (folder / name).is_file() or sha256_file(folder / name) != wanted:
            raise InputError(f"{folder / name}: is not what {LINEAGE} beside it names; restore it")
    return sha256
