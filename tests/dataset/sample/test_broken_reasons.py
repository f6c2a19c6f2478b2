"""The files that are broken on purpose land in the quarantine for the reason that the sample set announces."""

from pathlib import Path

from cavmae.dataset.sample import SampleSettings, render_broken
from cavmae.media.clip import ClipSettings, MediaRejected
from cavmae.media.decode import read_clip
from cavmae.media.sniff import sniff

SAMPLE = SampleSettings(clips=24, broken=True, seconds=2.0, size=64, fps=8, sample_rate=16000, seed=0, shared_facts=True)
CLIP = ClipSettings(10, 64, 16000, "exact", min_duration_s=0.5, silence_dbfs=-80.0, max_pixels=1 << 26)


def reason_for(path: Path) -> str:
    try:
        sniff(path)
        read_clip(path, 0.0, 10.0, CLIP)
    except MediaRejected as rejection:
        return rejection.reason
    return "accepted"


def test_every_broken_file_is_rejected_for_the_announced_reason(tmp_path: Path) -> None:
    announced = dict(render_broken(SAMPLE, tmp_path))
    assert {name: reason_for(tmp_path / name) for name in announced} == announced
