"""Our retrieval metrics, in turns."""

import torch

from benchmarks.workers.pipe import Meter, Turns, peak_bytes
from benchmarks.workers.vectors import pairs
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, VIDEO_TO_AUDIO, retrieve


def main() -> None:
    """Measure both directions, a turn."""
    turns = Turns()
    settings = turns.wait()
    torch.set_num_threads(settings["threads"])
    turns.answer()
    meter = Meter()
    while True:
        request = turns.wait()
        audio, video = pairs(settings["seed"], request["clips"][0], settings["width"])
        meter.start()
        figures = retrieve(audio, video)
        answer = meter.read()
        r1 = [figures[way]["r1"] for way in (AUDIO_TO_VIDEO, VIDEO_TO_AUDIO)]
        turns.answer(**answer, r1=r1, clips=len(audio), peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
