"""`python -m tests.training.worker OUT FAULT WORDS…`: `cavmae WORDS…` that writes down which clips it read, and may fail."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cavmae import cli
from cavmae.dataset.clip_reader import ClipReader, Picked, Wanted
from cavmae.errors import StepFailed
from cavmae.training import runs

RANK = int(os.environ["RANK"])


def main(out: Path, fault: dict[str, Any] | None, words: list[str]) -> int:
    """Run the command; return its exit code."""
    read: list[list[Any]] = []
    ours = fault is not None and fault["rank"] == RANK
    read_clips, fill = ClipReader.read, runs.fill_model_folder

    def recorded(reader: ClipReader, wanted: Sequence[Wanted], waveforms: np.ndarray) -> Iterator[Picked]:
        for item, picked in zip(wanted, read_clips(reader, wanted, waveforms), strict=True):
            read.append([item.clip.shard.name, item.clip.offset])
            if ours and fault is not None and len(read) == fault["read"]:
                raise StepFailed("the disk of this process is broken")
            yield picked

    def broken(*arguments: Any) -> None:
        if ours and fault is not None and fault["read"] is None:
            raise StepFailed("the model cannot be written")
        fill(*arguments)

    ClipReader.read = recorded  # type: ignore[method-assign]
    runs.fill_model_folder = broken
    try:
        return cli.main(words)
    finally:
        (out / f"read-{RANK}.json").write_text(json.dumps(read))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]))
