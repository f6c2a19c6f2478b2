"""The shared collections of real and of broken media, and the numbers of the official extraction script."""

import csv
import dataclasses
import json
import resource
from pathlib import Path

import numpy as np
import pytest

from cavmae.media.clip import NOTES, ClipSettings, MediaRejected
from cavmae.media.decode import read_clip

pytestmark = pytest.mark.media

# Where the manifest of broken media, written with another FFmpeg and for a pipeline that takes sound alone, says
# something else; docs/quarantine.md gives the reasons at more length.
DECIDED_OTHERWISE = {
    "media__sample_vvc.mp4": "no_audio",  # this FFmpeg decodes VVC, so the missing sound is what is wrong
    "mp4parse-rust__no_timescale.mp4": "no_audio",  # its pictures decode here as well
    "media__sample_fragmented.mp4": None,  # this FFmpeg computes the true duration: nothing to distrust is left
    "moviepy__video_with_failing_audio.mp4": None,  # the packets that fail lie behind the window
    "mp4parser__MOV00006.3gp": None,  # this FFmpeg decodes all of the sound
}
SAME_WORD = {"crop_to_10s": "cropped"}
OFFICIAL_CLIP = "sp ace and ümläut ♫.mp4"


@pytest.fixture
def real(settings: ClipSettings) -> ClipSettings:
    return dataclasses.replace(settings, image_size=224)


def test_every_broken_file_ends_as_the_manifest_says_or_as_decided_here(shared: Path, real: ClipSettings) -> None:
    folder = shared / "media" / "bad"
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = []
    for row in rows:
        name, expect, word = Path(row["file"]).name, row["expect"], SAME_WORD.get(row["reason"], row["reason"])
        accepted, words = True, set()
        try:
            words = set(read_clip(folder / row["file"], 0, 10, real).facts.notes)
            assert words <= NOTES
        except MediaRejected as rejected:
            accepted, words = False, {rejected.reason}
        if expect.startswith("audio_"):  # sound alone is no clip: as long as it can be opened, the picture is missing
            right = not accepted and words <= {"no_video", "undecodable", "not_media"}
        elif name in DECIDED_OTHERWISE:
            decided = DECIDED_OTHERWISE[name]
            right = accepted == (decided is None) and (decided is None or words == {decided})
        elif expect == "accept_warn_or_reject":
            right = word in words
        else:
            right = accepted == expect.startswith("accept") and (not word or word in words)
        if not right:
            wrong.append((name, expect, word, accepted, sorted(words)))
    assert len(rows) == 108
    assert wrong == []


def test_real_clips_decode_whole_and_in_flat_memory(shared: Path, settings: ClipSettings) -> None:
    folder = shared / "media" / "av"
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "event"]
    peaks = []
    for row in rows[::4] + rows[::4]:
        facts = read_clip(folder / row["path"], 0, 20, settings).facts
        assert facts.frames_decoded == pytest.approx(int(row["n_frames"]), abs=1)
        assert facts.audio_s == pytest.approx(float(row["audio_s"]), abs=0.1)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[-1] - peaks[len(peaks) // 2] < 8 * 1024  # KiB: a second round over the same clips adds nothing


def test_official_mode_gives_the_official_pixels(shared: Path, real: ClipSettings) -> None:
    """Tolerance 0: the same swscale conversion and the same Pillow resizing as the script's, on the frame it reads."""
    media = np.load(shared / "golden" / "pipeline" / "sample_media.npz")
    path = shared / "media" / "bad" / "files" / OFFICIAL_CLIP
    frames = read_clip(path, 0, 10, dataclasses.replace(real, frame_index="official")).frames
    for index in (0, 5):
        assert (frames[index] == media[f"frame224_uint8/00W1lcxW-WU_40.000/{index}"]).all()


def test_sound_is_the_official_left_channel(shared: Path, real: ClipSettings) -> None:
    """Tolerance one step of 16 bits: FFmpeg 5.1 (official) and 8 round a few floats apart, 40 here."""
    media = np.load(shared / "golden" / "pipeline" / "sample_media.npz")
    official = media["wav/00W1lcxW-WU_40.000"].astype(np.int32)
    clip = read_clip(shared / "media" / "bad" / "files" / OFFICIAL_CLIP, 0, 11, real)
    assert len(clip.waveform) == len(official)
    difference = np.abs(clip.waveform - official)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_frame_counts_are_the_official_ones(shared: Path, real: ClipSettings) -> None:
    facts = json.loads((shared / "golden" / "pipeline" / "video_frames.json").read_text(encoding="utf-8"))
    clip = read_clip(shared / "media" / "bad" / "files" / OFFICIAL_CLIP, 0, 10, real)
    official = facts["videos"]["00W1lcxW-WU_40.000"]
    assert clip.facts.frames_decoded == official["total_frame_num_used"]
    assert clip.facts.fps == official["fps"]
