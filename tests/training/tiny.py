"""A tiny data set and tiny models, made once a test run by the real steps and shared by the tests of everything that trains."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from cavmae import steps
from cavmae.dataset.shelf import Shelf
from cavmae.params import load_section

REPOSITORY = Path(__file__).resolve().parents[2]
PARAMS = REPOSITORY / "params.yaml"
_SIZES = {
    "num_mel_bins": 32,
    "patch_size": 8,
    "audio_patch_size": 16,
    "embed_dim": 32,
    "depth": 2,
    "modality_specific_depth": 1,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
# what the tests rely on, whatever the demo's recipe in params.yaml becomes
SETTINGS: dict[str, dict[str, Any]] = {
    "ingest": {"source": "sample", "seed": 0, "shard_clips": 16, "workers": 1}
    | {f"sample.{key}": value for key, value in {"clips": 48, "seconds": 1.0, "size": 32, "fps": 8, "broken": False}.items()},
    "extract": {"frames": 4, "frame_size": 32, "workers": 1},
    "validate": {},
    "adapt": {"checkpoint": "null", "seed": 0, "threads": 1} | {f"model.{key}": value for key, value in _SIZES.items()},
    "fetch": {},
    "pretrain": {"epochs": 2, "batch_size": 12, "warmup_epochs": 1, "lr": 0.002, "keep_epochs": 0, "threads": 1},
    "finetune": {"epochs": 3, "batch_size": 12, "warmup_epochs": 1, "lr": 0.002, "keep_epochs": 3, "threads": 1, "mixup": 0.0},
    "average": {"by": "last", "count": 3},
    "evaluate": {"replicates": 20, "examples": 1, "batch_size": 8, "threads": 1, "split": "test"},
    "package": {},
    "compare": {"replicates": 20, "batch_size": 8, "threads": 1, "split": "test"},
    "promote": {},
    "predict": {"threads": 1, "top": 3},
    "retrieve": {"threads": 1, "replicates": 20, "gallery_queries": 3},
    "embed": {"threads": 1},
    "inpaint": {"threads": 1, "count": 2, "griffin_lim_iterations": 4},
    "statistics": {"threads": 1, "num_mel_bins": 32},
    "import": {},
    "export": {"threads": 1},
}


@dataclass(frozen=True)
class Tiny:
    """Folders that tests read and do not write to."""

    root: Path

    @property
    def dataset(self) -> Path:
        """48 clips of 1 s at 32 px: 32 to train on, 8 to validate, 8 to test, 8 labels."""
        return self.root / "data" / "validated"

    @property
    def adapted(self) -> Path:
        """A model with random weights."""
        return self.root / "models" / "adapted"

    @property
    def pretrained(self) -> Path:
        """A model that saw two epochs."""
        return self.root / "models" / "pretrained"

    def classifier(self, mode: str = "multimodal") -> Path:
        """A classifier that saw three epochs, all of which are kept."""
        return _classifier(self.root, mode)


def params(step: str, **changes: Any) -> Any:
    """The checked parameters of a step: params.yaml, the tests' settings, and changes; `model__depth` is `model.depth`."""
    given = SETTINGS[step] | {key.replace("__", "."): "null" if value is None else value for key, value in changes.items()}
    return load_section(steps.load(step).params, step, PARAMS, [f"{key}={value}" for key, value in given.items()])


def arguments(step: str, **changes: Any) -> list[str]:
    """The same as words of the command line."""
    given = SETTINGS[step] | {key.replace("__", "."): "null" if value is None else value for key, value in changes.items()}
    return [step, "--params", str(PARAMS), *(word for key, value in given.items() for word in ("--set", f"{key}={value}"))]


def run_step(step: str, folders: dict[str, Path | None], **changes: Any) -> Any:
    """Run a step function with the tests' parameters."""
    return steps.load(step).run(params(step, **changes), folders)


def train(step: str, out: Path, dataset: Path, start: Path, **changes: Any) -> Path:
    """Run `pretrain` or `finetune` into the folder `out`; return the model folder in it."""
    folders: dict[str, Path | None] = {"dataset": dataset, "start": start}
    outputs = {"model": out / "model", "curves": out / "curves.tsv", "events": out / "events"}
    run_step(step, folders | outputs, **changes)
    return out / "model"


def same_files(left: Path, right: Path) -> list[str]:
    """Names of the files in which two folders differ, empty where they are equal byte for byte."""
    names = {path.relative_to(root) for root in (left, right) for path in root.rglob("*") if path.is_file()}
    different = []
    for name in sorted(names):
        files = left / name, right / name
        if not all(file.is_file() for file in files) or files[0].read_bytes() != files[1].read_bytes():
            different.append(name.as_posix())
    return different


def on_s3(root: str, dataset: Path) -> tuple[Shelf, Shelf]:
    """Copy the tiny data set to `dataset` and its shards to `root`; return the shelves here and there."""
    here, remote = Shelf.beside(tiny().dataset), Shelf(root, {})
    assert here is not None
    for name in here.store.names():
        if name.endswith(".tar") or f"{name.removesuffix('.json')}.tar" in here.store.names():
            remote.store.put(name, Path(here.root) / name)
    shutil.copytree(tiny().dataset, dataset)
    remote.write_location(dataset)
    return here, remote


@lru_cache(maxsize=1)
def tiny() -> Tiny:
    """Make data set, adapted and pretrained model once for the whole test run."""
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="cavmae-tiny-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    made = Tiny(root)
    with _working_in(root):
        shards, ingested = root / "data" / "shards", root / "data" / "ingest"
        run_step("ingest", {"out": ingested})
        run_step("extract", {"clips": ingested, "out": shards})
        run_step("validate", {"clips": ingested, "shards": shards, "out": made.dataset})
        run_step("adapt", {"dataset": made.dataset, "model": made.adapted})
        train("pretrain", root / "pretrain", made.dataset, made.adapted)
        shutil.move(root / "pretrain" / "model", made.pretrained)
    return made


@lru_cache(maxsize=8)
def _classifier(root: Path, mode: str) -> Path:
    with _working_in(root):
        return train("finetune", root / mode, tiny().dataset, tiny().pretrained, mode=mode)


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Keep the state of unfinished work out of the repository."""
    before = os.environ.get("CAVMAE_WORK")
    os.environ["CAVMAE_WORK"] = str(folder / ".cavmae")
    try:
        yield
    finally:
        if before is None:
            del os.environ["CAVMAE_WORK"]
        else:
            os.environ["CAVMAE_WORK"] = before
