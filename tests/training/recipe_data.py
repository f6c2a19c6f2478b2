"""Eight small clips that pass for the published data: 224 px, ten pictures, JSON list, label and weight CSV."""

import atexit
import json
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

from cavmae import steps
from cavmae.dataset.loader import ClipSet
from cavmae.dataset.sample import SampleSettings, plan, render
from cavmae.params import Overlay, load_section
from cavmae.recipe import Recipe
from tests.training.tiny import PARAMS

_SETTINGS = SampleSettings(clips=24, broken=False, seconds=1.0, size=224, fps=12, sample_rate=16000, seed=1, shared_facts=True)
_TRAIN, _VAL = 8, 4
_STEPS = ("ingest", "extract", "validate")
_LISTS = {"source": "train.json", "val_source": "val.json", "labels_csv": "labels.csv", "weights_csv": "train_weight.csv"}
SECONDS = _SETTINGS.seconds


def published_like(recipe: Recipe) -> ClipSet:
    """A data set made with the recipe's own values for `ingest`, `extract` and `validate`, but from these clips."""
    values = {step: dict(recipe.params[step]) for step in _STEPS}
    for key in ("source", "val_source", "labels_csv", "weights_csv"):
        values["ingest"][key] = bool(values["ingest"].get(key))
    return _made(json.dumps(values, sort_keys=True))


@lru_cache(maxsize=8)
def _made(described: str) -> ClipSet:
    root, values = _films(), json.loads(described)
    for key, name in _LISTS.items():
        values["ingest"][key] = str(root / name) if values["ingest"][key] else None
    folder = Path(tempfile.mkdtemp(dir=root))

    def run(step: str, overrides: list[str], **paths: Path) -> None:
        params = load_section(steps.load(step).params, step, PARAMS, overrides, Overlay(Path("recipe"), values[step]))
        steps.load(step).run(params, dict(paths))

    with patch.dict(os.environ, CAVMAE_WORK=str(root / "work")):
        run("ingest", ["workers=1"], out=folder / "ingest")
        run("extract", ["workers=1"], clips=folder / "ingest", out=folder / "shards")
        run("validate", [], clips=folder / "ingest", shards=folder / "shards", out=folder / "validated")
    return ClipSet(folder / "validated")


@lru_cache(maxsize=1)
def _films() -> Path:
    """Render the clips and write the lists, once for the whole test run."""
    root = Path(tempfile.mkdtemp(prefix="cavmae-recipes-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    clips = plan(_SETTINGS)[: _TRAIN + _VAL]
    for clip in clips:
        render(clip, _SETTINGS, root / "videos" / f"{clip.name}.mp4")
    rows = [{"video_id": clip.name, "video_path": "videos", "labels": clip.label} for clip in clips]
    (root / "train.json").write_text(json.dumps({"data": rows[:_TRAIN]}))
    (root / "val.json").write_text(json.dumps({"data": rows[_TRAIN:]}))
    labels = sorted({clip.label for clip in clips})
    (root / "labels.csv").write_text("index,mid,display_name\n" + "".join(f"{i},{mid},{mid}\n" for i, mid in enumerate(labels)))
    (root / "train_weight.csv").write_text("".join(f"{1 + i / 2}\n" for i in range(_TRAIN)))
    return root
