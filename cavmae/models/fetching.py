"""A model folder from elsewhere, brought to this machine: its files, checked, with a note of what was brought."""

from pathlib import Path

from cavmae.errors import InputError
from cavmae.locations import StoredFolder
from cavmae.models.files import CONFIG, LINEAGE, WEIGHTS
from cavmae.models.folder import check_fits, read_config, read_weights
from cavmae.models.state_file import LARGEST_BYTES
from cavmae.outputs import Written
from cavmae.storage import read_json, replace_folder, sha256_file, write_json

ORIGIN = "origin.json"
_NEEDED = (CONFIG, LINEAGE, WEIGHTS)
_FURTHER = ("metrics.json", "README.md", "curves.tsv")
_LARGEST_TEXT = 64 << 20  # bytes of any file but the weights


def fetched_folder() -> Written:
    """What a folder holds that was written here: the files of a model, as they were brought, and the note that says so."""

    def mark(folder: Path) -> bool:
        document = read_json(folder / ORIGIN)
        # a model that was trained, or changed, in its place is no longer the one that was brought
        return isinstance(document, dict) and document.get("step") == "fetch" and document.get("files") == _hashes(folder)

    return Written("fetch", (*_NEEDED, *_FURTHER, ORIGIN), mark)


def bring_model(location: str, folder: Path, origin: str, sha256: str | None = None) -> None:
    """Replace `folder` by the model folder at `location`, without weights of single epochs, whole or not at all.

    `origin` is noted with the files' hashes; `sha256` is what the weights must have, where that is known. Raises InputError
    where a file is missing or damaged, or configuration, weights and lineage are none that fit together.
    """
    source = StoredFolder(location)
    with replace_folder(folder) as partial:
        for name in (*_NEEDED, *_FURTHER):
            file = source.find(name)
            if file is not None:
                file.fetch(partial / name, LARGEST_BYTES if name == WEIGHTS else _LARGEST_TEXT)
            elif name in _NEEDED:
                raise InputError(f"{location}: not a model folder, {name} is missing; `cavmae import` makes one of a checkpoint")
        try:
            _check(partial)
        except InputError as error:
            raise InputError(str(error).replace(str(partial), location)) from None
        files = _hashes(partial)
        if sha256 is not None and files[WEIGHTS] != sha256:
            raise InputError(f"{location}: its {WEIGHTS} is not what was promoted; restore the folder")
        write_json(partial / ORIGIN, {"format": 1, "step": "fetch", "origin": origin, "files": files})


def _check(folder: Path) -> None:
    config = read_config(folder)
    check_fits(config, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    lineage = read_json(folder / LINEAGE)
    if not isinstance(lineage, dict) or "step" not in lineage:
        raise InputError(f"{folder / LINEAGE}: does not say which step made the model")


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != ORIGIN}
