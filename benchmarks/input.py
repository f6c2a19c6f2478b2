"""The input path, in CPU time per clip: ours from shards against the original's loader from files, over the same clips.

    python -m benchmarks.input --reference DIR [--clips 64] [--media DIR] [--json FILE]

Clips of 10 s at 16 kHz with ten JPEGs of 224 pixels, generated or taken from videos. `ratio` has everything on the CPU;
`ratio_device` counts for ours what the host does where a GPU computes spectrograms and normalises pictures.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import decoded, generated, videos_in, write_dataset, write_original_layout
from benchmarks.outcome import Outcome, add_output, own_versions, run, spread, table
from benchmarks.prerequisites import LOADER, add_reference, find_reference
from benchmarks.turns import in_turns, workers
from cavmae.errors import InputError


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.input", description="CPU time per clip against the original's loader.")
    add_reference(made)
    made.add_argument("--clips", type=int, default=64, help="clips in the data set (default: %(default)s)")
    made.add_argument("--batch", type=int, default=32, help="clips a batch (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=9, help="epochs of each that are timed (default: %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="threads of torch in each (default: %(default)s)")
    made.add_argument("--media", type=Path, metavar="DIR", help="take the clips from the videos below this folder")
    add_output(made)
    return made


def measure(options: argparse.Namespace) -> Outcome:
    """Write the clips both ways, read them in turns, and compare."""
    reference = find_reference(options, LOADER, ("src/dataloader.py",))
    if min(options.clips, options.batch, options.repeats, options.threads) < 1 or options.clips < 2 or options.batch < 2:
        raise InputError("--clips and --batch must be 2 or more, --repeats and --threads 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        original, work = Path(folder) / "original", Path(folder) / "ours"
        source = decoded(videos_in(options.media, options.clips)) if options.media else generated(options.clips)
        count = write_original_layout(original, source)
        if count < 2:
            raise InputError(f"{options.media}: fewer than two of its videos can be read")
        dataset, model = write_dataset(original, work)
        settings: dict[str, Any] = {"batch": options.batch, "threads": options.threads}
        ours = {**settings, "dataset": str(dataset), "model": str(model)}
        theirs = {**settings, "data": str(original / "data.json"), "labels": str(original / "labels.csv")}
        wanted = (
            (Path(sys.executable), "benchmarks.workers.our_input", ours, options.threads, ()),
            (reference.python, "benchmarks.workers.official_input", theirs, options.threads, (reference.source,)),
        )
        with workers(*wanted) as both:
            for worker in both:
                worker.hear()
            answers = [turns[1:] for turns in in_turns(both, options.repeats + 1)]  # the first warms up
        stored = sum(path.stat().st_size for path in (work / "shards").glob("*.tar")) / count
    cpu, host, theirs_ms = (
        [1000 * turn[side]["cpu_s"] / turn[side]["clips"] for turn in turns]
        for turns, side in ((answers[0], "cpu"), (answers[0], "cuda"), (answers[1], "cpu"))
    )
    best = {"ours": min(cpu), "device": min(host), "reference": min(theirs_ms)}
    ratio, ratio_device = best["reference"] / best["ours"], best["reference"] / best["device"]
    named = {"ours, everything on the CPU": cpu, "ours, host side with a GPU": host, "original": theirs_ms}
    rows = [
        (name, *(f"{spread(values)[key]:.2f}" for key in ("min", "q1", "median", "q3")), f"{best['reference'] / min(values):.2f}")
        for name, values in named.items()
    ]
    what = f"from videos of {options.media}" if options.media else "generated"
    lines = [
        f"Input path, {count} clips of 10 s ({what}; {stored / 1000:.0f} kB a clip in shards), {options.repeats} epochs "
        f"in turns, threads: {options.threads}. {ratio:.2f} times the original's speed on the CPU, {ratio_device:.2f} times with "
        "features on a device. The fastest epoch of each decides.",
        "",
        *table(("CPU time, ms per clip", "fastest", "quartile", "median", "quartile", "times as fast"), rows),
    ]
    more = {
        "ratio_device": ratio_device,
        "ours_device": best["device"],
        "bytes_per_clip": stored,
        "peak_bytes": {
            side: max(turn["peak_bytes"] for turn in turns) for side, turns in zip(("ours", "reference"), answers, strict=True)
        },
        "settings": {
            "clips": count,
            "batch": options.batch,
            "repeats": options.repeats,
            "threads": options.threads,
            "media": str(options.media or ""),
        },
    }
    versions = {**own_versions(), **{f"original's {package}": value for package, value in reference.versions.items()}}
    spreads = {"ours": spread(cpu), "ours_device": spread(host), "reference": spread(theirs_ms)}
    return Outcome(
        f"input, {options.media.name if options.media else 'generated clips'}",
        "cavmae-base",
        best["ours"],
        best["reference"],
        ratio,
        "ms CPU per clip",
        spreads,
        versions,
        more=more,
        lines=lines,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return run("input", parser(), measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
