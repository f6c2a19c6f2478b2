"""Rendering the sample set into a folder, by several processes, each file whole or not at all."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from cavmae.dataset.sample import SampleClip, SampleSettings, ceilings, plan, render, render_broken
from cavmae.dataset.sources.candidate import Candidate
from cavmae.progress import Progress
from cavmae.storage import read_json, write_json


def sample_candidates(settings: SampleSettings, folder: Path, workers: int) -> list[Candidate]:
    """Render what of the sample set is not there yet and return its clips, the broken ones last, as candidates."""
    recipe = folder / "recipe.json"
    if not recipe.is_file() or read_json(recipe) != asdict(settings):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(recipe, asdict(settings))
    clips = plan(settings)
    missing = [clip for clip in clips if not (folder / f"{clip.name}.mp4").is_file()]
    if missing:
        with (
            ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
            Progress("rendering the sample set", len(missing)) as progress,
        ):
            for _ in pool.map(partial(_render_into, settings, folder), missing, chunksize=8):
                progress.advance()
    candidates = [
        Candidate(
            name=clip.name,
            path=folder / f"{clip.name}.mp4",
            labels=(clip.label,),
            where=f"sample clip {clip.index}",
            split=clip.split,
        )
        for clip in clips
    ]
    for name, _ in render_broken(settings, folder):
        path = folder / name
        candidates.append(
            Candidate(name=path.stem, path=path, labels=(clips[0].label,), where=f"sample file {name}", split="train")
        )
    return candidates


def sample_ceilings(shared_facts: bool) -> dict[str, float]:
    """Best possible accuracy by sound, by picture and by both, as the sample's classes imply."""
    return ceilings(shared_facts)


def _render_into(settings: SampleSettings, folder: Path, clip: SampleClip) -> None:
    render(clip, settings, folder / f"{clip.name}.mp4")
