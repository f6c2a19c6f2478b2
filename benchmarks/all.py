"""Every benchmark, one after another: what `make benchmarks` and `make benchmarks-gpu` run.

    python -m benchmarks.all [--gpu] [--media DIR] [--list]

CAVMAE_REFERENCE names the checkout of the original. One that fails, or lacks something, does not stop the others; the exit code
is the largest of theirs.
"""

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_GPU_BATCHES = (48, 96, 128, 256)
_FAST = ["--set", "compile=true", "--set", "deterministic=false"]  # what a long run on a GPU would be given


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.all", description="Every benchmark, one after another.")
    made.add_argument("--gpu", action="store_true", help="the training step on a GPU instead: batch 48 to 256, curves, profile")
    made.add_argument("--media", type=Path, metavar="DIR", help="real videos, to measure extraction and input on as well")
    made.add_argument("--list", action="store_true", help="print the commands and run none")
    return made


def commands(gpu: bool, media: Path | None) -> list[list[str]]:
    """Return the benchmarks in order, each with its arguments."""
    if gpu:
        batches = [["step", "--device", "cuda", "--batch", str(batch), *_FAST] for batch in _GPU_BATCHES]
        exact = ["--precision", "float32", "--reference-precision", "float32"]
        return [
            *batches,
            ["step", "--device", "cuda", "--batch", "256", "--no-results"],
            ["step", "--device", "cuda", "--batch", "48", "--losses", "200"],
            ["step", "--device", "cuda", "--batch", "48", "--losses", "200", *exact],
            ["step", "--device", "cuda", "--batch", "256", "--no-results", "--profile", "step-profile.txt", *_FAST],
        ]
    real = [["--media", str(media)]] if media else []
    return [
        *(["extract", *source] for source in ([], *real)),
        *(["input", *source] for source in ([], *real)),
        ["retrieval"],
        ["scaling"],
        ["step"],
        ["step", "--small", "--losses", "200"],
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; return the largest exit code."""
    options = parser().parse_args(arguments)
    wanted = commands(options.gpu, options.media)
    worst = 0
    for name, *rest in wanted:
        print(f"$ python -m benchmarks.{shlex.join([name, *rest])}", flush=True)
        if not options.list:
            code = int(importlib.import_module(f"benchmarks.{name}").main(rest))
            worst = max(worst, code)
            print(f"exit code {code}{os.linesep}", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
