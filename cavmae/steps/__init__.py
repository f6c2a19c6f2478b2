"""The steps: one file each, a typed function and its description. Importing a description takes milliseconds."""

from importlib import import_module

from cavmae.steps.step import Artifact, Step

__all__ = ["NAMES", "Artifact", "Step", "load", "module"]

# the commands whose names are words of Python, or of its library, by module
_MODULES = {"import": "import_checkpoint", "export": "export_model"}
NAMES = (
    "ingest",
    "extract",
    "validate",
    "adapt",
    "fetch",
    "pretrain",
    "finetune",
    "average",
    "evaluate",
    "package",
    "compare",
    "promote",
    "predict",
    "retrieve",
    "embed",
    "inpaint",
    "statistics",
    "import",
    "export",
)


def load(name: str) -> Step:
    """Return the description of the step `name`."""
    step: Step = import_module(f"cavmae.steps.{module(name)}").STEP
    return step


def module(name: str) -> str:
    """Return the name of the file in this folder that describes the step `name`."""
    return _MODULES.get(name, name)
