"""Step `statistics`: mean and standard deviation of the log-mel spectrograms of a data set."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.features.params import StatisticsParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.features.statistics import LogMelStatistics


def statistics(dataset: Path, out: Path, params: StatisticsParams) -> "LogMelStatistics":
    """Measure the log-mel spectrograms of one split, clip by clip, their padding included as the original does.

    Writes the figures and the data set's fingerprint as JSON. Raises InputError where the split holds no clips.
    """
    import torch

    from cavmae.dataset.loader import ClipSet
    from cavmae.features.fbank import FbankSettings
    from cavmae.features.statistics import log_mel_statistics, whole_patches
    from cavmae.models.lineage import dataset_fingerprint
    from cavmae.storage import write_json

    torch.set_num_threads(params.threads)
    data = ClipSet(dataset)
    length = params.audio_length or whole_patches(data.longest_s)
    settings = FbankSettings(int(str(data.settings["sample_rate"])), params.num_mel_bins, length)
    measured = log_mel_statistics(data.split(params.split), settings)
    write_json(
        out,
        {
            "split": params.split,
            "sample_rate": settings.sample_rate,
            "num_mel_bins": settings.num_mel_bins,
            "audio_length": settings.target_length,
            "dataset": dataset_fingerprint(dataset),
            **asdict(measured),
        },
    )
    return measured


def as_text(measured: "LogMelStatistics", params: StatisticsParams) -> str:
    """The figures, and what to set where they are to be used."""
    lines = [
        f"log-mel mean {measured.mean:.6f}, std {measured.std:.6f}",
        f"{measured.clips:,} {params.split} clips, {measured.frames:,} frames of {params.num_mel_bins} bins, "
        f"{measured.padding:.1%} of the frames padding",
    ]
    if round(measured.std, 6) > 0:
        return "\n".join([*lines, f"to use them: cavmae adapt --mean {measured.mean:.6f} --std {measured.std:.6f}"])
    return "\n".join([*lines, "the spectrograms are constant: no model can be normalised by them"])


STEP = Step(
    function=statistics,
    params=StatisticsParams,
    inputs=(Artifact("dataset", "data/validated", "validated data set"),),
    outputs=(Artifact("out", "metrics/statistics.json", "figures for machines"),),
    image="train",
    cpu=2,
    memory_gb=4,
    in_pipeline=False,
    present=as_text,
)
