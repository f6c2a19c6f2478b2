"""The original's loader, in turns: `AudiosetDataset.__getitem__` for every clip, and torch's own collating of batches."""

import random

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from benchmarks.workers.pipe import Meter, Turns, peak_bytes


def load_by_soundfile(path: str) -> tuple[Tensor, int]:
    """Stand in for `torchaudio.load`, which wants torchcodec and FFmpeg by now: float32 [channels, samples] and the rate."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), rate


def main() -> None:
    """Read every clip once a turn."""
    turns = Turns()
    settings = turns.wait()
    torch.set_num_threads(settings["threads"])
    np.float = float  # type: ignore[attr-defined]  # the original is older than numpy's removal of the name
    import dataloader
    import torchaudio

    torchaudio.load = load_by_soundfile
    options = {"num_mel_bins": 128, "target_length": 1024, "freqm": 0, "timem": 0, "mixup": 0, "dataset": "audioset"}
    options |= {"mode": "train", "mean": -5.081, "std": 4.4849, "noise": True, "label_smooth": 0, "im_res": 224}
    dataset = dataloader.AudiosetDataset(settings["data"], options, settings["labels"])
    turns.answer(torch=torch.__version__)
    meter = Meter()
    while True:
        request = turns.wait()
        order = list(range(len(dataset)))
        random.Random(request["turn"]).shuffle(order)
        meter.start()
        for at in range(0, len(order), settings["batch"]):
            audio, _, _ = default_collate([dataset[index] for index in order[at : at + settings["batch"]]])
            if float(audio.std()) < 1e-3:  # the original replaces what it cannot read by a constant, and goes on
                turns.answer(missing="the original could not read its clips: is soundfile whole in its environment?")
                return
        turns.answer(cpu={**meter.read(), "clips": len(order)}, peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
