"""The folder on the shared volume through which a step and the nodes of its TrainJob hand each other files."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cavmae.errors import InputError, StepFailed
from cavmae.storage import replace_folder, write_atomic


class JobFolder:
    """`trainjobs/<job>` on the shared volume: inputs, outputs, what a stopped run needs to continue, a sign of being followed.

    Raises InputError where the volume is not there, and StepFailed where it cannot be read or written.
    """

    def __init__(self, shared: Path, job: str) -> None:
        if not shared.is_dir():
            raise InputError(
                f"{shared}: no such folder; several nodes need a volume that the step and all nodes mount there (shared_claim)"
            )
        self.path = shared / "trainjobs" / job
        self.work, self.followed = self.path / "work", self.path / "followed"

    def input(self, name: str) -> Path:
        """Where the nodes find an input."""
        return self.path / "inputs" / name

    def output(self, name: str) -> Path:
        """Where the nodes leave an output."""
        return self.path / "outputs" / name

    def fill(self, inputs: Mapping[str, Path]) -> None:
        """Copy the inputs in, and remove what an earlier job of the name left there; what it needs to continue stays."""
        for name, source in inputs.items():
            if not source.exists():
                raise InputError(f"{source}: no such file or folder (input {name!r})")
        with _reported():
            for place in (self.input("x").parent, self.output("x").parent):
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
            self.work.mkdir(exist_ok=True)
            for name, source in inputs.items():
                _copy(source, self.input(name))

    def touch(self) -> None:
        """Tell the nodes that their job is still followed."""
        with _reported():
            self.followed.touch()

    def collect(self, outputs: Mapping[str, Path]) -> None:
        """Copy the outputs back, each to its place as a whole; one that is not there raises StepFailed."""
        for name in outputs:
            if not self.output(name).exists():
                raise StepFailed(f"{self.output(name)}: the nodes ended well and left no output {name!r}")
        with _reported():
            for name, target in outputs.items():
                _copy(self.output(name), target)

    def remove(self) -> None:
        """Remove the folder: its outputs are where they belong."""
        shutil.rmtree(self.path, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        with replace_folder(target) as partial:
            shutil.copytree(source, partial, dirs_exist_ok=True)
    else:
        with write_atomic(target) as partial:
            shutil.copyfile(source, partial)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except shutil.Error as error:  # of copytree: a list of what went wrong
        source, _, reason = error.args[0][0]
        raise StepFailed(f"{source}: cannot be copied ({reason})") from None
    except OSError as error:
        raise StepFailed(f"{error.filename}: {error.strerror}") from None
