"""Retrieval metrics of 10,000 pairs, both directions: ours against the original's functions, timed on fewer and scaled.

    python -m benchmarks.retrieval --reference DIR [--pairs 10000] [--json FILE]

The original compares every pair by itself, so that its time grows with the square of the clips: it is timed on 500 and on 250
clips, multiplied by the square of the clips' ratio, and the exponent between the two is shown.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome, add_output, own_versions, run, spread, table
from benchmarks.prerequisites import add_reference, find_reference
from benchmarks.turns import in_turns, workers
from cavmae.errors import InputError, StepFailed


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.retrieval", description="Retrieval metrics against the original's.")
    add_reference(made)
    made.add_argument("--pairs", type=int, default=10_000, help="clips for ours (default: %(default)s)")
    made.add_argument("--timed", type=int, default=500, help="clips for the original (default: %(default)s)")
    made.add_argument("--width", type=int, default=768, help="of the embeddings (default: %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="of each (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=3, help="turns of each (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the embeddings")
    add_output(made)
    return made


def measure(options: argparse.Namespace) -> Outcome:
    """Time in turns, check that both find the same, and scale."""
    reference = find_reference(options, {"torch": None, "numpy": None}, ("src/retrieval.py",))
    if options.timed < 20 or options.pairs < options.timed or min(options.repeats, options.threads, options.width) < 1:
        raise InputError("--timed must be 20 or more, --pairs no less than --timed, --repeats, --threads and --width 1 or more")
    settings = {"seed": options.seed, "width": options.width, "threads": options.threads}
    file = reference.source / "retrieval.py"
    wanted = (
        (Path(sys.executable), "benchmarks.workers.our_retrieval", settings, options.threads, ()),
        (reference.python, "benchmarks.workers.official_retrieval", {**settings, "file": str(file)}, options.threads, ()),
    )
    with workers(*wanted) as both:
        for worker in both:
            worker.hear()
        same = in_turns(both, 1, clips=[options.timed, options.timed])
        if any(abs(ours - theirs) > 1e-9 for ours, theirs in zip(same[0][0]["r1"], same[1][0]["r1"], strict=True)):
            raise StepFailed(f"R@1 differs: ours {same[0][0]['r1']}, the original's {same[1][0]['r1']}")
        half = in_turns(both[1:], 1, clips=[0, options.timed // 2])[0][0]
        arrays = in_turns(both[1:], 1, clips=[0, options.timed], arrays=True)[0][0]
        answers = in_turns(both, options.repeats, clips=[options.pairs, options.timed])
    return _outcome(answers, half, arrays, options, reference.versions)


def _outcome(
    answers: list[list[dict[str, Any]]],
    half: dict[str, Any],
    arrays: dict[str, Any],
    options: argparse.Namespace,
    versions: dict[str, str],
) -> Outcome:
    kind = "cpu_s" if options.threads == 1 else "wall_s"
    ours, timed = ([turn[kind] for turn in turns] for turns in answers)
    factor = (options.pairs / options.timed) ** 2
    scaled = [factor * seconds for seconds in timed]
    exponent = math.log(min(timed) / half[kind]) / math.log(options.timed / half["clips"])
    ratio = min(scaled) / min(ours)
    ratio_arrays = factor * arrays[kind] / min(ours)
    rows = [
        (f"ours, {options.pairs} pairs", f"{min(ours):.3f}", f"{max(ours):.3f}"),
        (f"original, {options.timed} pairs", f"{min(timed):.3f}", f"{max(timed):.3f}"),
        (f"original, scaled to {options.pairs} by {factor:g}", f"{min(scaled):.0f}", f"{max(scaled):.0f}"),
    ]
    lines = [
        f"Retrieval, both directions, {options.width} dimensions, {options.threads} thread{'s' if options.threads > 1 else ''}, "
        f"{options.repeats} turns: {ratio:.0f} times as fast as the original. The fastest turn of each decides.",
        "",
        *table(("CPU s" if kind == "cpu_s" else "s", "fastest", "slowest"), rows),
        "",
        f"From {half['clips']} to {options.timed} clips the original's time grows with the power {exponent:.2f} of the clips. "
        f"R@1 of {options.timed} clips is the same on both sides. Its functions are given tensors of torch, as its script gives "
        f"them; with arrays of numpy they take {arrays[kind]:.3f} s for {options.timed} clips, and ours is {ratio_arrays:.0f} "
        "times as fast.",
    ]
    more = {
        "ratio_arrays": ratio_arrays,
        "reference_timed_s": min(timed),
        "reference_timed_pairs": options.timed,
        "scaled_by": factor,
        "exponent": exponent,
        "peak_bytes": max(turn["peak_bytes"] for turn in answers[0]),
        "settings": {"pairs": options.pairs, "width": options.width, "threads": options.threads},
    }
    found = {**own_versions(), **{f"original's {name}": value for name, value in versions.items()}}
    spreads = {"ours": spread(ours), "reference": spread(scaled)}
    return Outcome("retrieval", "cavmae-base", min(ours), min(scaled), ratio, "s", spreads, found, more=more, lines=lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return run("retrieval", parser(), measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
