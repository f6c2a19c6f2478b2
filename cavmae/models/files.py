"""The files of a model folder, and the hashes that stand for it; nothing here needs torch."""

from pathlib import Path

from cavmae.errors import InputError
from cavmae.storage import sha256_file

CONFIG, WEIGHTS, LINEAGE = "config.json", "model.safetensors", "lineage.json"
METRICS = "metrics.json"  # in a folder that `package` wrote
EPOCHS = "epochs"  # sub-folder of a model folder that holds the weights of its last epochs


def model_fingerprint(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of weights and configuration of a model folder."""
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not a model folder, {name} is missing")
    return {name: sha256_file(folder / name) for name in (WEIGHTS, CONFIG)}
