"""What some number of clips will take: GPU hours, storage, extraction pods.

    python -m benchmarks.planning [--clips 10000,200000,2000000] [--gpu-peak 790] [--share 0.4] [--json FILE]

Every input is an option, and its default says where it is from: counted, measured here, or assumed. The tables in
docs/planning.md are this command's output.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.outcome import table
from cavmae.storage import write_json


@dataclass(frozen=True)
class Input:
    """One number that the plan rests on."""

    option: str
    value: float
    unit: str
    origin: str


INPUTS = {
    "gflop": Input("--gflop", 234.2, "GFLOP a clip and epoch of pretraining", "counted"),
    "finetune_gflop": Input("--finetune-gflop", 397.2, "GFLOP a clip and epoch of fine-tuning", "counted"),
    "gpu_peak": Input("--gpu-peak", 790.0, "TFLOP/s, bf16 matrix products of one H200", "assumed"),
    "share": Input("--share", 0.4, "of that peak reached by a step", "assumed: the target"),
    "epochs": Input("--epochs", 25.0, "epochs of pretraining", "the original's"),
    "finetune_epochs": Input("--finetune-epochs", 10.0, "epochs of fine-tuning", "the original's"),
    "video_kb": Input("--video-kb", 444.0, "kB of source video a clip", "measured, 98 clips of 10 s, 144 to 480 lines"),
    "shard_kb": Input(
        "--shard-kb", 445.0, "kB a clip in shards", "measured, 30 of them: 10 s, ten pictures of 224 px, quality 90"
    ),
    "parameters": Input("--parameters", 191.0, "million parameters of the model", "counted"),
    "extract_rate": Input(
        "--extract-rate",
        6.0,
        "clips a second and core, extraction",
        "measured, `benchmarks.extract`, median: 640 x 360, 25 frames a second",
    ),
    "pod_cores": Input("--pod-cores", 2.0, "cores of an extraction pod", "the step's request"),
    "hours": Input("--hours", 8.0, "hours that extraction may take", "a choice"),
    "host_ms": Input("--host-ms", 0.63, "ms CPU a clip to feed a GPU", "measured, `benchmarks.input`, median"),
}


@dataclass(frozen=True)
class Plan:
    """What some clips take."""

    clips: int
    pretrain_gpu_hours: float
    finetune_gpu_hours: float
    clips_per_s: float  # that one GPU trains on
    feeding_cores: float  # that one GPU keeps busy
    feeding_mb_per_s: float
    video_gb: float
    shard_gb: float
    run_gb: float  # checkpoints and weights
    extract_core_hours: float
    extract_pods: int


def plan(clips: int, given: dict[str, float]) -> Plan:
    """Work out a plan; the formulas of docs/planning.md."""
    reached = given["gpu_peak"] * 1e12 * given["share"]
    clips_per_s = reached / (given["gflop"] * 1e9)
    finetune_s = clips * given["finetune_epochs"] * given["finetune_gflop"] * 1e9 / reached
    core_hours = clips / given["extract_rate"] / 3600
    weights_gb = given["parameters"] * 4 / 1000
    return Plan(
        clips=clips,
        pretrain_gpu_hours=clips * given["epochs"] / clips_per_s / 3600,
        finetune_gpu_hours=finetune_s / 3600,
        clips_per_s=clips_per_s,
        feeding_cores=clips_per_s * given["host_ms"] / 1000,
        feeding_mb_per_s=clips_per_s * given["shard_kb"] / 1000,
        video_gb=clips * given["video_kb"] / 1e6,
        shard_gb=clips * given["shard_kb"] / 1e6,
        # two checkpoints of weights and both of Adam's means, and the weights of five epochs
        run_gb=2 * 3 * weights_gb + 5 * weights_gb,
        extract_core_hours=core_hours,
        extract_pods=math.ceil(core_hours / given["pod_cores"] / given["hours"]),
    )


def inputs_table(given: dict[str, float]) -> list[str]:
    """Return the inputs as a Markdown table."""
    rows = []
    for name, one in INPUTS.items():
        origin = one.origin if given[name] == one.value else "given"
        rows.append((f"`{one.option}`", f"{given[name]:g}", one.unit, origin))
    return table(("option", "value", "what", "where from"), rows)


def plans_table(plans: Sequence[Plan]) -> list[str]:
    """Return the plans as a Markdown table."""
    said = [
        ("pretraining, GPU hours", [f"{one.pretrain_gpu_hours:.3g}" for one in plans]),
        ("fine-tuning, GPU hours", [f"{one.finetune_gpu_hours:.3g}" for one in plans]),
        ("source videos, GB", [f"{one.video_gb:.4g}" for one in plans]),
        ("shards, GB", [f"{one.shard_gb:.4g}" for one in plans]),
        ("checkpoints and kept weights, GB", [f"{one.run_gb:.2g}" for one in plans]),
        ("extraction, core hours", [f"{one.extract_core_hours:.3g}" for one in plans]),
        ("extraction pods", [str(one.extract_pods) for one in plans]),
    ]
    return table(("clips", *(f"{one.clips:,}" for one in plans)), [(name, *cells) for name, cells in said])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.planning", description="GPU hours, storage and extraction pods of a plan.")
    made.add_argument("--clips", type=_clips, default=(10_000, 200_000, 2_000_000), metavar="N,N", help="numbers of clips")
    for name, one in INPUTS.items():
        made.add_argument(
            one.option,
            type=_share if name == "share" else _positive,
            default=one.value,
            help=f"{one.unit} (%(default)s, {one.origin})".replace("%,", "%%,"),
        )
    made.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    return made


def _clips(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers of clips, 1 or more, as 10000,200000")
    return found


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return value


def _share(text: str) -> float:
    if (value := _positive(text)) > 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a part of the peak, at most 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Print inputs and plans."""
    options = parser().parse_args(arguments)
    given = {name: float(getattr(options, name)) for name in INPUTS}
    plans = [plan(clips, given) for clips in options.clips]
    print("\n".join([*inputs_table(given), "", *plans_table(plans), ""]))
    one = plans[0]
    print(
        f"One GPU then trains on {one.clips_per_s:.0f} clips a second, reads {one.feeding_mb_per_s:.0f} MB/s of shards, and "
        f"keeps {one.feeding_cores:.1f} cores busy with feeding it."
    )
    if options.json:
        document: dict[str, Any] = {"inputs": given, "plans": [vars(one) for one in plans]}
        write_json(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
