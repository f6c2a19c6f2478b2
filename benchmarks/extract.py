"""Extraction, in clips a second and core: ours against the original's FFmpeg, SoX and OpenCV scripts, over the same videos.

    python -m benchmarks.extract --reference DIR [--media DIR] [--json FILE]

Ten pictures of 224 pixels and 16 kHz sound of each video, into a shard here, into files there. Both are held to one core, and CPU
time counts, of all programs that they start. Importing libraries does not: it is paid once, not for each clip.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import videos_in
from benchmarks.outcome import Outcome, add_output, own_versions, run, spread, table
from benchmarks.prerequisites import FRAMES, add_reference, find_program, find_reference
from benchmarks.steps import run as run_step
from benchmarks.turns import in_turns, workers
from benchmarks.videos import render_videos
from cavmae.errors import InputError, StepFailed

_SCRIPTS = Path("src/preprocess")
_SIDE, _QUALITY = 224, 75  # of the original


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="benchmarks.extract", description="Extraction against FFmpeg, SoX and OpenCV scripts.")
    add_reference(made)
    made.add_argument("--clips", type=int, default=12, help="videos (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=3, help="times that each extracts them (default: %(default)s)")
    made.add_argument("--media", type=Path, metavar="DIR", help="take the videos below this folder; else they are generated")
    made.add_argument("--seconds", type=float, default=10.0, help="length of generated videos (default: %(default)s)")
    made.add_argument(
        "--frame-index", choices=["exact", "official"], default="exact", help="which pictures ours takes (default: %(default)s)"
    )
    add_output(made)
    return made


def measure(options: argparse.Namespace) -> Outcome:
    """Extract in turns, and compare."""
    reference = find_reference(options, FRAMES, (f"{_SCRIPTS}/extract_audio.py", f"{_SCRIPTS}/extract_video_frame.py"))
    programs = {name: find_program(name) for name in ("ffmpeg", "sox")}
    if options.clips < 2 or options.repeats < 1 or options.seconds < 0.5:
        raise InputError("--clips must be 2 or more, --repeats 1 or more, --seconds 0.5 or more")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = folder / "videos"
        videos.mkdir()
        if options.media:
            # names without blanks or dots: the original's scripts put them into a shell's command line as they are
            for number, path in enumerate(videos_in(options.media, options.clips)):
                (videos / f"video{number:05d}{path.suffix.lower()}").symlink_to(path.resolve())
        else:
            render_videos(videos, options.clips, seconds=options.seconds)
        paths = sorted(videos.iterdir())
        if len(paths) < 2:
            raise InputError(f"{options.media}: holds one video; the original's scripts need two or more")
        (folder / "list.csv").write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")
        run_step("ingest", {"source": videos, "val_share": 0, "test_share": 0}, out=folder / "ingest")
        core = min(os.sched_getaffinity(0))
        ours = {"manifest": str(folder / "ingest" / "clips.parquet"), "work": name, "core": core, "side": _SIDE}
        ours |= {"quality": _QUALITY, "frame_index": options.frame_index}
        scripts = reference.checkout / _SCRIPTS
        theirs = {"list": str(folder / "list.csv"), "work": name, "core": core, "scripts": str(scripts)}
        wanted = (
            (Path(sys.executable), "benchmarks.workers.our_extract", ours, 1, ()),
            (reference.python, "benchmarks.workers.official_extract", theirs, 1, (scripts,)),
        )
        with workers(*wanted) as both:
            for worker in both:
                worker.hear()
            answers = in_turns(both, options.repeats)
    return _outcome(answers, options, len(paths), {**reference.versions, **programs})


def _outcome(answers: list[list[dict[str, Any]]], options: argparse.Namespace, count: int, versions: dict[str, str]) -> Outcome:
    made = [turns[0]["clips"] for turns in answers]
    if 0 in made:
        raise StepFailed(f"of {count} videos ours made {made[0]} clips and the original {made[1]}; name other ones with --media")
    # whoever rejects a file spends time on it all the same, so time is spread over the files, not over the clips
    rates = [[count / turn["cpu_s"] for turn in turns] for turns in answers]
    ours, theirs = (max(values) for values in rates)
    ratio = ours / theirs
    rows = [
        (name, *(f"{spread(values)[key]:.2f}" for key in ("max", "median", "min")), f"{count / max(values):.3f}", clips)
        for name, values, clips in zip(("ours", "original"), [[*map(float, one)] for one in rates], made, strict=True)
    ]
    rows = [(*row[:4], f"{1000 / float(row[1]):.0f}", row[5]) for row in rows]
    what = f"from {options.media}" if options.media else f"generated, {options.seconds:g} s, 640 x 360, 25 frames a second"
    lines = [
        f"Extraction, {count} videos ({what}), {options.repeats} times in turns, one core: {ratio:.2f} times the clips a second "
        "and core of the original's scripts. The fastest turn of each decides.",
        "",
        *table(("clips/s and core, by CPU time", "fastest", "median", "slowest", "ms a clip", "clips made"), rows),
    ]
    more = {
        "bytes_per_clip": answers[0][0]["bytes"] / made[0],
        "clips_made": {"ours": made[0], "reference": made[1]},
        "wall_clips_per_s": {
            side: max(count / turn["wall_s"] for turn in turns)
            for side, turns in zip(("ours", "reference"), answers, strict=True)
        },
        "settings": {
            "clips": count,
            "repeats": options.repeats,
            "media": str(options.media or ""),
            "frame_index": options.frame_index,
        },
    }
    found = {**own_versions(), **{f"original's {name}": value for name, value in versions.items()}}
    spreads = {"ours": spread(rates[0]), "reference": spread(rates[1])}
    name = f"extract, {options.media.name if options.media else 'generated videos'}"
    return Outcome(name, "cavmae-base", ours, theirs, ratio, "clips/s per core", spreads, found, more=more, lines=lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return run("extract", parser(), measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
