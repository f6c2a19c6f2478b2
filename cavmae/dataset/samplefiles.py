"""Rendering the sample set into a folder, by several processes, each file whole or not at all."""

import os
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

from cavmae.dataset.pool import deaf_children
from cavmae.dataset.sample import SampleClip, SampleSettings, ceilings, plan, render, render_broken
from cavmae.dataset.sources.candidate import Candidate
from cavmae.errors import StepFailed
from cavmae.progress import Progress
from cavmae.storage import read_json, remove_leftovers, write_json


def sample_candidates(settings: SampleSettings, folder: Path, workers: int) -> list[Candidate]:
    """Render what of the sample set is not there yet and return its clips, the broken ones last, as candidates."""
    recipe = folder / "recipe.json"
    if not recipe.is_file() or read_json(recipe) != asdict(settings):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(recipe, asdict(settings))
    remove_leftovers(folder)
    clips = plan(settings)
    missing = [clip for clip in clips if not (folder / f"{clip.name}.mp4").is_file()]
    if missing:
        _render_all(settings, folder, missing, workers)
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


def _render_all(settings: SampleSettings, folder: Path, clips: list[SampleClip], workers: int) -> None:
    try:
        with (
            ProcessPoolExecutor(min(workers, len(clips)), get_context("spawn"), _end_with_parent) as pool,
            Progress("rendering the sample set", len(clips)) as progress,
        ):
            with deaf_children():
                rendered = pool.map(partial(_render_into, settings, folder), clips, chunksize=8)
            for _ in rendered:
                progress.advance()
    except BrokenProcessPool:
        raise StepFailed("a process that renders the sample set was killed; is memory short? run the command again") from None


def sample_ceilings(shared_facts: bool) -> dict[str, float]:
    """Best possible accuracy by sound, by picture and by both, as the sample's classes imply."""
    return ceilings(shared_facts)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _render_into(settings: SampleSettings, folder: Path, clip: SampleClip) -> None:
    render(clip, settings, folder / f"{clip.name}.mp4")
