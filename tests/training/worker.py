"""`python -m tests.training.worker OUT FAULT WORDS…`: `cavmae WORDS…` that writes down which clips it read, and may fail."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from cavmae import cli
from cavmae.dataset import loader
from cavmae.errors import StepFailed
from cavmae.training import runs

RANK = int(os.environ["RANK"])


def main(out: Path, fault: dict[str, Any] | None, words: list[str]) -> int:
    """Run the command; return its exit code."""
    read: list[list[Any]] = []
    ours = fault is not None and fault["rank"] == RANK
    read_members, fill = loader.read_clip_members, runs.fill_model_folder

    def recorded(path: Path, offset: int, length: int) -> dict[str, bytes]:
        read.append([path.name, offset])
        if ours and fault is not None and len(read) == fault["read"]:
            raise StepFailed("the disk of this process is broken")
        return read_members(path, offset, length)

    def broken(*arguments: Any) -> None:
        if ours and fault is not None and fault["read"] is None:
            raise StepFailed("the model cannot be written")
        fill(*arguments)

    loader.read_clip_members = recorded
    runs.fill_model_folder = broken
    try:
        return cli.main(words)
    finally:
        (out / f"read-{RANK}.json").write_text(json.dumps(read))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]))
