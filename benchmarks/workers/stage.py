"""One step over a data set of some size, in a process of its own, so that its peak memory is its own."""

from pathlib import Path
from typing import Any

from benchmarks.steps import run
from benchmarks.workers.pipe import Meter, Turns, peak_bytes

_TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "modality_specific_depth": 1, "num_heads": 2}
_TINY |= {"decoder_embed_dim": 16, "decoder_num_heads": 2}


def render(folder: Path, settings: dict[str, Any]) -> None:
    """The sample set's videos, as short and small as they may be."""
    sample = {"clips": settings["clips"], "seconds": 0.5, "size": 32, "fps": 4, "broken": "false"}
    overrides = {f"sample.{key}": value for key, value in sample.items()}
    run("ingest", {"source": "sample", **overrides, "workers": settings["workers"]}, out=folder / "rendered")


def ingest(folder: Path, settings: dict[str, Any]) -> None:
    """The folder of videos to a manifest: looks at every file, hashes its content, gives it split and shard."""
    run("ingest", {"source": folder / "rendered" / "sample", "workers": settings["workers"]}, out=folder / "ingest")


def extract(folder: Path, settings: dict[str, Any]) -> None:
    """The manifest to shards."""
    run("extract", {"frame_size": 32, "workers": settings["workers"]}, clips=folder / "ingest", out=folder / "shards")


def validate(folder: Path, settings: dict[str, Any]) -> None:
    """The gate."""
    run("validate", {}, clips=folder / "ingest", shards=folder / "shards", out=folder / "validated")


def adapt(folder: Path, settings: dict[str, Any]) -> None:
    """A model to read for."""
    overrides = {"mean": -5.081, "std": 4.4849, **{f"model.{key}": value for key, value in _TINY.items()}}
    run("adapt", overrides, dataset=folder / "validated", model=folder / "adapted")


def read(folder: Path, settings: dict[str, Any]) -> None:
    """An epoch's batches, spectrograms and all, on the CPU."""
    from benchmarks.workers.our_input import batches, objective_of

    objective = objective_of(folder / "validated", folder / "adapted", 64, "cpu", augment=False)
    seen = sum(len(batch.clips) for batch in batches(objective, 1))
    assert seen == len(objective.order(1)), "an epoch has other clips than the split"


def retrieve(folder: Path, settings: dict[str, Any]) -> None:
    """Retrieval metrics of as many pairs."""
    from benchmarks.workers.vectors import pairs
    from cavmae.evaluation.retrieval import retrieve

    retrieve(*pairs(0, settings["clips"], 768))


STAGES = {stage.__name__: stage for stage in (render, ingest, extract, validate, adapt, read, retrieve)}


def main() -> None:
    """Run one stage."""
    turns, meter = Turns(), Meter()
    settings = turns.wait()
    meter.start()
    STAGES[settings["stage"]](Path(settings["folder"]), settings)
    turns.answer(**meter.read(), peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
