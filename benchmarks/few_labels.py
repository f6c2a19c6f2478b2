"""What pretraining buys: fine-tuning with a tenth of the labels, from pretrained weights and from random ones.

    python -m benchmarks.few_labels [--seeds 3] [--share 0.1] [--json FILE]

Needs what `make demo` leaves behind: data/validated and models/pretrained. Each seed draws its own tenth of the labels, its own
order and, where training starts from scratch, its own first weights. Either arm has the learning rate and length that did best
for it on the validation split (docs/pretraining.md tells how they were found).
"""

import argparse
import logging
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.steps import run
from cavmae.errors import InputError
from cavmae.storage import read_json, work_folder, write_json

ARMS: dict[str, dict[str, Any]] = {
    "pretrained": {"from_scratch": "false", "lr": 1.0e-3, "epochs": 120},
    "from scratch": {"from_scratch": "true", "lr": 1.0e-3, "epochs": 120},
}
METRICS = ("accuracy", "mAP")
DATA, PRETRAINED = Path("data/validated"), Path("models/pretrained")


def measure(arm: str, seed: int, share: float) -> dict[str, float]:
    """Fine-tune one arm with one seed; return its figures on the test split."""
    folder = work_folder("few-labels", f"{arm.replace(' ', '-')}-{seed}")
    settings = {**ARMS[arm], "seed": seed, "label_fraction": share, "keep_epochs": 0, "batch_size": 32}
    paths = {"model": folder / "model", "curves": folder / "curves.tsv", "events": folder / "events"}
    run("finetune", settings, dataset=DATA, start=PRETRAINED, **paths)
    outputs = {"metrics": folder / "metrics.json", "plots": folder / "plots", "report": folder / "report.html"}
    absent = {"audio_model": None, "video_model": None, "pretrained": None, "curves": None}
    run("evaluate", {"replicates": 0, "examples": 0}, dataset=DATA, model=folder / "model", **absent, **outputs)
    figures = read_json(outputs["metrics"])["test"]["multimodal"]
    return {metric: figures[metric] for metric in METRICS}


def main() -> int:
    """Measure both arms over the seeds, print a table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.few_labels", description="What pretraining buys with few labels.")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each arm")
    parser.add_argument("--share", type=float, default=0.1, help="share of the labelled train clips that is used")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results: dict[str, Any] = {"share": options.share, "seeds": options.seeds}
    try:
        for arm in ARMS:
            rows = [measure(arm, seed, options.share) for seed in range(options.seeds)]
            results[arm] = {metric: [row[metric] for row in rows] for metric in METRICS}
            for metric, values in results[arm].items():
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                each = " ".join(f"{value:.3f}" for value in values)
                print(f"{arm:13} {metric:9} mean {statistics.mean(values):.3f}  standard deviation {spread:.3f}  each {each}")
    except InputError as error:
        print(f"benchmarks.few_labels: {error}; run `make demo` first", file=sys.stderr)
        return error.exit_code
    if options.json:
        write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
