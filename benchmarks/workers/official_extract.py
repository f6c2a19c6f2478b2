"""The original's two extraction scripts on one core, in turns: FFmpeg and SoX for sound, OpenCV and torchvision for pictures."""

import os
import runpy
import sys
import tempfile
from pathlib import Path

from benchmarks.workers.pipe import Meter, Turns, peak_bytes

_PICTURES = 10


def main() -> None:
    """Extract sound and pictures of every video of a list, a turn; what importing the libraries costs does not count."""
    turns = Turns()
    settings = turns.wait()
    os.sched_setaffinity(0, {settings["core"]})
    scripts = Path(settings["scripts"])
    import extract_video_frame
    import torch

    torch.set_num_threads(1)
    videos = Path(settings["list"]).read_text(encoding="utf-8").split()
    turns.answer(torch=torch.__version__)
    meter = Meter()
    while True:
        turns.wait()
        with tempfile.TemporaryDirectory(dir=settings["work"]) as folder:
            sounds, pictures = f"{folder}/audio", f"{folder}/frames"
            meter.start()
            # the script is a program without functions: it is run as one, without the cost of a new interpreter
            sys.argv = ["extract_audio.py", "-input_file_list", settings["list"], "-target_fold", sounds]
            runpy.run_path(str(scripts / "extract_audio.py"), run_name="__main__")
            for video in videos:
                try:
                    extract_video_frame.extract_frame(video, pictures)
                except Exception as error:  # as the script's own loop goes on
                    print(f"{video}: {error}", file=sys.stderr)
            answer = meter.read()
            whole = sum(
                all((Path(pictures) / f"frame_{frame}" / f"{Path(video).stem}.jpg").is_file() for frame in range(_PICTURES))
                and (Path(sounds) / f"{Path(video).stem}.wav").is_file()
                for video in videos
            )
        turns.answer(**answer, clips=whole, peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
