"""How cost and peak memory grow with clips: ingest, extract, validate, the reading of an epoch, retrieval metrics.

    python -m benchmarks.scaling [--sizes 100,1000,10000] [--json FILE]

Over generated clips of half a second, every stage in a process of its own. There is no original to compare with: `ours` is the
CPU time that each further clip takes, of all stages but retrieval, between the two largest sizes, `reference` the same between
the two before, and a `ratio` of 1 or more means that cost grows no faster than the clips do.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome, add_output, own_versions, run, table
from benchmarks.turns import Worker
from cavmae.errors import InputError

_MEASURED = ("ingest", "extract", "validate", "read", "retrieve")
_STAGES = ("render", "ingest", "extract", "validate", "adapt", "read", "retrieve")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.scaling", description="Cost and peak memory with the number of clips.")
    made.add_argument("--sizes", type=_sizes, default=(100, 1000, 10_000), metavar="N,N", help="clips (default: 100,1000,10000)")
    made.add_argument("--workers", type=int, default=2, help="processes of the steps that have some (default: %(default)s)")
    add_output(made)
    return made


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) < 2 or list(sizes) != sorted(set(sizes)) or sizes[0] < 30:
        raise argparse.ArgumentTypeError("give two or more rising numbers of clips, 30 or more each")
    return sizes


def measure(options: argparse.Namespace) -> Outcome:
    """Run every stage at every size."""
    if options.workers < 1:
        raise InputError("--workers must be 1 or more")
    found: dict[str, dict[int, dict[str, Any]]] = {stage: {} for stage in _STAGES}
    for clips in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            for stage in _STAGES:
                settings = {"stage": stage, "folder": folder, "clips": clips, "workers": options.workers}
                with Worker(Path(sys.executable), "benchmarks.workers.stage", settings, 1) as worker:
                    found[stage][clips] = worker.hear()
    return _outcome({stage: found[stage] for stage in _MEASURED}, options)


def _outcome(found: dict[str, dict[int, dict[str, Any]]], options: argparse.Namespace) -> Outcome:
    first, last = options.sizes[0], options.sizes[-1]
    steps = list(zip(options.sizes, options.sizes[1:], strict=False))
    rows, stages = [], {}
    for stage, sizes in found.items():
        marginal = [1000 * (sizes[high]["cpu_s"] - sizes[low]["cpu_s"]) / (high - low) for low, high in steps]
        growth = sizes[last]["peak_bytes"] / sizes[first]["peak_bytes"]
        cells = [f"{sizes[clips]['cpu_s']:.1f} s, {sizes[clips]['peak_bytes'] / 1e6:.0f} MB" for clips in options.sizes]
        rows.append((stage, *cells, f"{marginal[-1]:.2f}", f"{growth:.2f}"))
        stages[stage] = {
            "ms_per_clip": marginal,
            "memory_growth": growth,
            "sizes": {str(n): values for n, values in sizes.items()},
        }
    # retrieval compares every clip with every other: its cost is shown, and grows with the square
    total = [sum(one["ms_per_clip"][at] for name, one in stages.items() if name != "retrieve") for at in range(len(steps))]
    ours, reference = total[-1], total[-2] if len(total) > 1 else None
    ratio = reference / ours if reference is not None else None
    says = f"; from {options.sizes[-3]} to {options.sizes[-2]} it was {reference:.2f} ms" if reference is not None else ""
    lines = [
        "CPU time and peak memory of the largest process, by clips of 0.5 s, libraries' imports included. From "
        f"{options.sizes[-2]} to {last} clips each further one takes {ours:.2f} ms{says}; retrieval, which grows with the "
        "square, does not count.",
        "",
        *table(("stage", *map(str, options.sizes), "ms for each further clip", f"memory, {last} to {first}"), rows),
    ]
    spreads = {"memory_growth": {stage: stages[stage]["memory_growth"] for stage in stages}}
    more = {"stages": stages, "settings": {"sizes": list(options.sizes), "workers": options.workers}}
    unit = "ms CPU for each further clip"
    return Outcome("scaling", "cavmae-base", ours, reference, ratio, unit, spreads, own_versions(), more=more, lines=lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return run("scaling", parser(), measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
