"""The steps: one file each, a typed function and its description. Importing a description takes milliseconds."""

from importlib import import_module

from cavmae.steps.step import Artifact, Step

__all__ = ["NAMES", "Artifact", "Step", "load"]

NAMES = ("ingest", "extract", "validate", "adapt", "pretrain", "finetune", "average", "evaluate", "package", "predict")


def load(name: str) -> Step:
    """Return the description of the step `name`."""
    step: Step = import_module(f"cavmae.steps.{name}").STEP
    return step
