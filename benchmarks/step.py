"""A training step of ours against the original's own training loop: same device, same weights, batches and mask noise.

    python -m benchmarks.step --reference DIR [--device cuda] [--batch 256] [--losses 200] [--json FILE]

Each runs in a process of its own, and the parent gives them turns. A step is forward, backward and optimizer step, with all that
the loop around it does; inputs lie on the device already.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome, add_output, hardware, own_versions, run, spread, table
from benchmarks.prerequisites import TIMM, Reference, add_reference, find_reference
from benchmarks.turns import in_turns, workers
from cavmae.errors import InputError, StepFailed

_FILES = ("src/models/cav_mae.py", "src/traintest_cavmae.py")
_PACKAGES = {**TIMM, "scikit-learn": None}  # the original's loop imports its statistics
LOSSES = ("loss", "mae_a", "mae_v", "contrast")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.step", description="A training step against the original's own loop.")
    add_reference(made)
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where both run (default: %(default)s)")
    made.add_argument("--batch", type=int, help="clips a step (default: 4 on a CPU, 256 on a GPU)")
    made.add_argument("--threads", type=int, default=2, help="CPU threads of each (default: %(default)s)")
    made.add_argument("--precision", choices=["float32", "bf16"], help="ours (default: float32 on a CPU, bf16 on a GPU)")
    made.add_argument(
        "--reference-precision",
        choices=["float32", "fp16"],
        help="the original's (default: as shipped, which is float32 on a CPU, fp16 autocast on a GPU)",
    )
    made.add_argument("--small", action="store_true", help="a narrow model of the same depth, to try the command")
    made.add_argument("--repeats", type=int, help="timed steps of each (default: 7 on a CPU, 20 on a GPU)")
    made.add_argument("--warm-up", type=int, help="steps before them (default: 1 on a CPU, 5 on a GPU)")
    made.add_argument("--losses", type=int, metavar="N", help="compare the loss curves of N steps instead of the speed")
    made.add_argument("--every", type=int, default=10, help="with --losses: steps from one printed line to the next")
    made.add_argument("--seed", type=int, default=0, help="of weights, batches and noise")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="knob of `pretrain` for our side")
    made.add_argument("--profile", type=Path, metavar="FILE", help="write a profile of our steps there; times are no good then")
    add_output(made)
    return made


def measure(options: argparse.Namespace) -> Outcome:
    """Compare speed, or loss curves."""
    reference = find_reference(options, _PACKAGES, _FILES)
    on_gpu = options.device == "cuda"
    batch = (256 if on_gpu else 4) if options.batch is None else options.batch
    repeats = (20 if on_gpu else 7) if options.repeats is None else options.repeats
    warm_up = (5 if on_gpu else 1) if options.warm_up is None else options.warm_up
    precision = options.precision or ("bf16" if on_gpu else "float32")
    theirs_precision = options.reference_precision or ("fp16" if on_gpu else "float32")
    if batch < 2 or repeats < 1 or warm_up < 0 or options.threads < 1 or (options.losses is not None and options.losses < 1):
        raise InputError("--batch must be 2 or more, --repeats, --threads and --losses 1 or more, --warm-up 0 or more")
    if theirs_precision == "fp16" and not on_gpu:
        raise InputError("--reference-precision fp16 needs --device cuda: the original's autocast is for GPUs alone")
    turns = options.losses or warm_up + repeats
    settings = {"device": options.device, "batch": batch, "threads": options.threads, "seed": options.seed, "turns": turns}
    settings |= {"size": "small" if options.small else "base", "fresh": options.losses is not None}
    with tempfile.TemporaryDirectory() as folder:
        profile = str(Path(folder) / "profile") if options.profile else None
        ours = {**settings, "precision": precision, "set": options.set, "profile": profile}
        theirs = {**settings, "precision": theirs_precision}
        answers, about = _in_turns(reference, ours, theirs, turns)
        if profile:
            options.profile.write_text(Path(profile).read_text(encoding="utf-8"), encoding="utf-8")
    settings |= {"precision": precision, "reference_precision": theirs_precision, "set": options.set}
    if options.losses:
        return _curves(answers, settings, about, reference, options.every)
    return _speed([answer[warm_up:] for answer in answers], settings, about, reference)


def _in_turns(
    reference: Reference, ours: dict[str, Any], theirs: dict[str, Any], turns: int
) -> tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Run both sides; return the answers of each, and what each said of itself."""
    wanted = (
        (Path(sys.executable), "benchmarks.workers.our_step", ours, ours["threads"], ()),
        (reference.python, "benchmarks.workers.official_step", theirs, theirs["threads"], (reference.source,)),
    )
    with workers(*wanted) as both:
        about = [worker.hear() for worker in both]
        if about[0]["names"] != about[1]["names"]:
            raise StepFailed("the two models have other parameters: is --reference the original CAV-MAE?")
        answers = in_turns(both, turns, fresh=ours["fresh"])
        both[0].finish()
    return answers, about


def _speed(
    answers: list[list[dict[str, Any]]], settings: dict[str, Any], about: list[dict[str, Any]], reference: Reference
) -> Outcome:
    batch = settings["batch"]
    seconds = [[step["wall_s"] for step in steps] for steps in answers]
    cpu = [[step["cpu_s"] for step in steps] for steps in answers]
    rate = [batch / statistics.median(times) for times in seconds]
    pairs = [slow / fast for fast, slow in zip(*seconds, strict=True)]
    flops, peak = about[0]["flops_per_clip"], max(step["peak_flops"] for step in answers[0])
    floor_s = flops * batch / peak
    share = [floor_s / statistics.median(times) for times in seconds]
    memory = [max(step["peak_bytes"] for step in steps) for steps in answers]
    losses = [steps[0]["losses"]["loss"] for steps in answers]
    columns = ("", "ours", "original")
    rows = [
        ("precision", settings["precision"], settings["reference_precision"]),
        ("clips/s", *(f"{value:.4g}" for value in rate)),
        ("median step, ms", *(f"{1000 * statistics.median(times):.5g}" for times in seconds)),
        ("quartiles, ms", *("{q1:.5g} to {q3:.5g}".format(**spread([1000 * value for value in times])) for times in seconds)),
        ("fastest step, ms", *(f"{1000 * min(times):.5g}" for times in seconds)),
        ("CPU time of the fastest step, ms", *(f"{1000 * min(times):.5g}" for times in cpu)),
        (f"share of the peak ({peak / 1e12:.3g} TFLOP/s, {settings['precision']} matmul here)", *(f"{x:.1%}" for x in share)),
        ("peak memory, GB" if settings["device"] == "cuda" else "peak resident memory, GB", *(f"{x / 1e9:.2f}" for x in memory)),
        ("loss of the first timed step", *(f"{value:.6f}" for value in losses)),
    ]
    ratio = rate[0] / rate[1]
    sentences = [
        f"Training step, batch {batch}, {settings['device']}, {settings['threads']} CPU threads, {len(pairs)} steps in turns: "
        f"{ratio:.2f} times as fast as the original (quartiles {spread(pairs)['q1']:.2f} to {spread(pairs)['q3']:.2f}).",
        "",
        *table(columns, rows),
        "",
        f"Analytic floor: {flops / 1e9:.1f} GFLOP a clip, {1000 * floor_s / batch:.4g} ms a clip at that peak.",
    ]
    more = {
        "ratio_fastest": min(seconds[1]) / min(seconds[0]),
        "ratio_cpu_time": min(cpu[1]) / min(cpu[0]),
        "peak_tflops": peak / 1e12,
        "share_of_peak": {"ours": share[0], "reference": share[1]},
        "gflop_per_clip": flops / 1e9,
        "floor_ms_per_clip": 1000 * floor_s / batch,
        "peak_bytes": {"ours": memory[0], "reference": memory[1]},
        "first_loss": {"ours": losses[0], "reference": losses[1]},
        "settings": settings,
    }
    spreads = {"ours_s": spread(seconds[0]), "reference_s": spread(seconds[1]), "ratio": spread(pairs)}
    name = f"step, batch {batch}, {settings['precision']}"
    return _outcome(name, rate[0], rate[1], ratio, "clips/s", spreads, settings, reference, more, sentences)


def _curves(
    answers: list[list[dict[str, Any]]], settings: dict[str, Any], about: list[dict[str, Any]], reference: Reference, every: int
) -> Outcome:
    curves = [{name: [step["losses"][name] for step in steps] for name in LOSSES} for steps in answers]
    count = len(answers[0])
    apart = {name: max(abs(one - other) for one, other in zip(curves[0][name], curves[1][name], strict=True)) for name in LOSSES}
    relative = [abs(one - other) / abs(other) for one, other in zip(curves[0]["loss"], curves[1]["loss"], strict=True)]
    shown = sorted({0, count - 1, *range(every - 1, count, every)})
    rows = [
        (at + 1, *(f"{curve['loss'][at]:.7f}" for curve in curves), f"{curves[0]['loss'][at] - curves[1]['loss'][at]:+.1e}")
        for at in shown
    ]
    sentences = [
        f"Loss curves of {count} steps, batch {settings['batch']}, {settings['device']}, ours {settings['precision']}, the "
        f"original {settings['reference_precision']}: from equal weights, batches and mask noise.",
        "",
        *table(("step", "ours", "original", "difference"), rows),
        "",
        "Largest differences: " + ", ".join(f"{name} {value:.1e}" for name, value in apart.items()) + "; "
        f"of the loss, relative, {max(relative):.1e} at step {relative.index(max(relative)) + 1}.",
    ]
    more = {
        "curves": {"ours": curves[0], "reference": curves[1]},
        "largest_difference": apart,
        "largest_relative_difference": max(relative),
        "settings": settings,
        "parameters": about[0]["parameters"],
    }
    last = [curve["loss"][-1] for curve in curves]
    name = f"losses, {count} steps, batch {settings['batch']}, {settings['precision']}"
    return _outcome(
        name, last[0], last[1], last[0] / last[1], "loss of the last step", {"relative": spread(relative)}, settings, reference,
        more, sentences,
    )  # fmt: skip


def _outcome(
    name: str,
    ours: float,
    theirs: float,
    ratio: float,
    unit: str,
    spreads: dict[str, Any],
    settings: dict[str, Any],
    reference: Reference,
    more: dict[str, Any],
    lines: list[str],
) -> Outcome:
    versions = {**own_versions(), **{f"original's {package}": value for package, value in reference.versions.items()}}
    model = f"cavmae-{settings['size']}"
    return Outcome(
        name, model, ours, theirs, ratio, unit, spreads, versions, hardware=hardware(settings["device"]), more=more, lines=lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return run("step", parser(), measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
