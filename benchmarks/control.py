"""Retrieval on the control set, whose sounds and pictures share no facts: it has to fall to chance.

    python -m benchmarks.control [--json FILE]

Renders the control set, pretrains on it with the same parameters as the demo, and measures retrieval on its test split. What it
makes lies in .cavmae/control.
"""

import argparse
import logging
import sys
from pathlib import Path

from benchmarks.steps import run
from cavmae.results import results_table
from cavmae.storage import read_json, work_folder, write_json


def main() -> int:
    """Run the steps, print the retrieval figures, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.control", description="Retrieval where there is nothing to retrieve by.")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    at = work_folder("control")
    clips, shards, dataset = at / "ingest", at / "shards", at / "validated"
    run("ingest", {"source": "sample", "sample.shared_facts": "false", "sample.broken": "false"}, out=clips)
    run("extract", {}, clips=clips, out=shards)
    run("validate", {}, clips=clips, shards=shards, out=dataset)
    run("adapt", {}, dataset=dataset, model=at / "adapted")
    run(
        "pretrain",
        {},
        dataset=dataset,
        start=at / "adapted",
        model=at / "pretrained",
        curves=at / "curves" / "pretrain.tsv",
        events=at / "events",
    )
    run(
        "evaluate",
        {"examples": 0},
        dataset=dataset,
        model=None,
        audio_model=None,
        video_model=None,
        pretrained=at / "pretrained",
        curves=at / "curves",
        metrics=at / "metrics.json",
        plots=at / "plots",
        report=at / "report.html",
    )
    print(results_table(at / "metrics.json", at / "report.html"))
    if options.json:
        write_json(options.json, read_json(at / "metrics.json")["test"]["retrieval"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
