"""The sound of a window: decoded packets to one 16-bit mono waveform."""

from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from cavmae.media.clip import MediaRejected
from cavmae.media.container import MEDIA_ERRORS, tick

Waveform = NDArray[np.int16]

_DTYPES: dict[str, type[np.generic]] = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "flt": np.float32,
    "dbl": np.float64,
}
_UNSIGNED_ZERO = 128
# Containers round time stamps, and clocks drift; only a step of more than this is a real gap or overlap.
_GAP_S = 0.1
_FLOOR_DBFS = -100.0
_MAX_BYTES = 256 << 20  # of one channel; ten minutes at 96 kHz
_BLOCK_S = 0.1


@dataclass
class _Run:
    """Consecutive samples of one rate and format."""

    start_s: float
    rate: int
    format: str
    chunks: list[NDArray[Any]] = field(default_factory=list)
    length: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + self.length / self.rate

    def append(self, samples: NDArray[Any]) -> None:
        self.chunks.append(samples)
        self.length += len(samples)


class SoundTrack:
    """Collects the first channel of a track and renders it onto the clock of a window; of no track, nothing.

    The first channel alone, not a mix, is what the published CAV-MAE data holds (SoX `remix 1`). Gaps in the time
    stamps become silence and overlaps are dropped, so that sound and picture stay together.
    """

    def __init__(self, track: av.AudioStream | None, zero_s: float, window_s: float) -> None:
        self._track = track
        self._zero_s = zero_s
        self._tick_s = tick(track) if track is not None else 0.0
        self._window_s = window_s
        self._runs: list[_Run] = []
        self.packets = 0
        self.errors = 0
        self.sample_rate = 0
        self.channels = 0
        self.seconds = 0.0  # of decoded sound within the window
        self.first_s: float | None = None  # on the window's clock; negative where the run-up to a late window is heard
        self.last_s = 0.0

    def take(self, packet: "av.Packet[av.AudioStream] | None") -> None:
        """Decode one packet (None: what the decoder still holds) and keep its samples."""
        if self._track is None:
            return
        try:
            frames = self._track.codec_context.decode(packet)
        except MEDIA_ERRORS:
            self.errors += 1
            return
        finally:
            self.packets += packet is not None
        for frame in frames:
            self._keep(frame)

    def render(self, sample_rate: int) -> Waveform:
        """Return int16 mono [samples] at `sample_rate` Hz; index 0 is the window's start, the end the sound's own."""
        placed = [(round(run.start_s * sample_rate), _resample(run, sample_rate)) for run in self._runs]
        end = min(max((offset + len(part) for offset, part in placed), default=0), round(self._window_s * sample_rate))
        waveform = np.zeros(max(end, 0), dtype=np.int16)
        for offset, part in placed:
            part = part[max(-offset, 0) :]
            offset = max(offset, 0)
            room = max(len(waveform) - offset, 0)
            waveform[offset : offset + len(part)] = part[:room]
        return waveform

    def _keep(self, frame: av.AudioFrame) -> None:
        kind = frame.format.name.removesuffix("p")
        if kind not in _DTYPES or frame.sample_rate <= 0 or not frame.samples:
            self.errors += 1
            return
        channels = frame.layout.nb_channels
        width = 1 if frame.format.is_planar else channels
        plane = np.frombuffer(memoryview(frame.planes[0]), dtype=_DTYPES[kind])
        samples = plane[: frame.samples * width : width].copy()  # [samples], first channel
        run = self._runs[-1] if self._runs else None
        expected = run.end_s if run else 0.0
        at = expected if frame.pts is None else frame.pts * self._tick_s - self._zero_s
        if run is None or run.rate != frame.sample_rate or run.format != kind:
            run = _Run(at if run is None else expected, frame.sample_rate, kind)
            self._runs.append(run)
            expected = run.start_s
        if at - expected > _GAP_S:
            gap = round((min(at, self._window_s) - expected) * run.rate)
            run.append(np.full(max(gap, 0), _UNSIGNED_ZERO if kind == "u8" else 0, dtype=_DTYPES[kind]))
        elif expected - at > _GAP_S:
            samples = samples[round((expected - at) * run.rate) :]
        begin = run.end_s
        if begin < self._window_s:
            run.append(samples)
        if run.length * samples.itemsize > _MAX_BYTES:
            raise MediaRejected("too_large", f"The sound of the window exceeds {_MAX_BYTES >> 20} MiB.")
        self.seconds += max(min(run.end_s, self._window_s) - max(begin, 0.0), 0.0)
        self.first_s = begin if self.first_s is None else self.first_s
        self.last_s = max(self.last_s, run.end_s)
        self.sample_rate = self.sample_rate or frame.sample_rate
        self.channels = self.channels or channels


def _resample(run: _Run, rate: int) -> Waveform:
    """Resample a run with FFmpeg's libswresample at its defaults, as `ffmpeg -ar` does; return int16 [samples]."""
    if not run.length:
        return np.zeros(0, dtype=np.int16)
    frame = av.AudioFrame.from_ndarray(np.concatenate(run.chunks)[None], format=run.format, layout="mono")  # [1, samples]
    frame.sample_rate = run.rate
    resampler = AudioResampler(format="s16", layout="mono", rate=rate)
    parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None)) if part is not None]
    return np.concatenate(parts).astype(np.int16, copy=False) if parts else np.zeros(0, dtype=np.int16)


def level_dbfs(waveform: Waveform) -> float:
    """Return the RMS level of int16 [samples] in dB below full scale (32768); -100 stands for digital silence."""
    if not len(waveform):
        return _FLOOR_DBFS
    power = float(np.mean(np.square(waveform.astype(np.float32) / 32768.0)))
    return max(10.0 * float(np.log10(power)), _FLOOR_DBFS) if power > 0 else _FLOOR_DBFS


def silent_share(waveform: Waveform, sample_rate: int, threshold_dbfs: float) -> float:
    """Return the share of 100 ms blocks of int16 [samples] whose RMS level is below `threshold_dbfs`; 1 if empty."""
    block = max(round(_BLOCK_S * sample_rate), 1)
    blocks = max(len(waveform) // block, 1)
    if not len(waveform):
        return 1.0
    whole = waveform[: blocks * block].astype(np.float32) / 32768.0
    power = np.mean(np.square(whole.reshape(blocks, -1)), axis=1)  # [blocks]
    return float(np.mean(power < 10.0 ** (threshold_dbfs / 10.0)))
