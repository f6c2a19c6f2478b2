"""The folder that `inpaint` makes: for each clip a folder of figure and sounds, a page over all of them, and the losses."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from cavmae.dataset.records import encode_wav
from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.inpainting import Inpainted, Masking, inpaint_clip
from cavmae.evaluation.inpainting_figure import figure_png
from cavmae.evaluation.inpainting_page import SOUNDS, render
from cavmae.evaluation.inpainting_sounds import sounding_frames, sounds
from cavmae.evaluation.inpainting_sources import Source
from cavmae.evaluation.page import write_page
from cavmae.evaluation.params import InpaintParams
from cavmae.features.fbank import SHIFT_S
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.media.clip import MediaRejected
from cavmae.models.cavmae import CAVMAE
from cavmae.models.folder import ModelConfig
from cavmae.outputs import Written
from cavmae.progress import Progress
from cavmae.storage import read_json, write_json

FIGURE, PAGE, LOSSES = "figure.png", "index.html", "losses.json"
log = logging.getLogger(__name__)


def _is_inpainting(folder: Path) -> bool:
    document = read_json(folder / LOSSES)
    return isinstance(document, dict) and {"clips", "mask_mode", "griffin_lim_iterations"} <= document.keys()


WRITTEN = Written("inpaint", (PAGE, LOSSES), _is_inpainting, below=(FIGURE, *(f"{name}.wav" for name in SOUNDS)))


@dataclass(frozen=True)
class ClipLosses:
    """What losses.json says of a clip; `name` is its folder's, `gain` what kept its made sounds within full scale."""

    name: str
    path: str
    seconds: float
    loss_a: float | None
    loss_v: float | None
    gain: float


def fill_inpaint_folder(
    out: Path, sources: Sequence[Source], model: CAVMAE, config: ModelConfig, origin: dict[str, str], params: InpaintParams
) -> dict[str, Any]:
    """Inpaint the clips one by one and write all files into the empty folder `out`; return what stands in losses.json.

    `origin` says in that file where the model is from. A clip that cannot be read is named there with its reason.
    Raises InputError where none can be read, StepFailed where the model's predictions are not finite.
    """
    device = torch.device(params.device)
    front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
    masking = Masking(params.mask_mode, params.mask_ratio_a, params.mask_ratio_v, params.seed)
    clips: list[ClipLosses] = []
    failed: list[dict[str, str]] = []
    with Progress("inpaint", len(sources)) as progress:
        for source in sources:
            try:
                raw = source.read()
                if not sounding_frames(raw, config):
                    raise MediaRejected("too_short", "The sound is shorter than one frame of the spectrogram.")
            except MediaRejected as rejection:
                log.warning("inpaint: %s: %s", source.path, rejection)
                failed.append({"path": source.path, "reason": str(rejection)})
                progress.advance()
                continue
            noise_a, noise_v = (noise.to(device) for noise in masking.noise(model, source.key))
            moved = raw.to(device)
            audio, image = front_end.audio(moved), front_end.images(moved)
            try:
                result = inpaint_clip(model, audio, image, masking, noise_a, noise_v)
            except ValueError as error:
                raise StepFailed(f"{source.path}: {error}; the model is of no use, pretrain it again") from None
            clips.append(_write_clip(out, source, result, raw, config, params))
            progress.advance()
    if not clips:
        raise InputError(f"{failed[0]['path']}: cannot be used ({failed[0]['reason']})")
    document = {
        "clips": [asdict(clip) for clip in clips],
        "failed": failed,
        "mean": {"loss_a": _mean([clip.loss_a for clip in clips]), "loss_v": _mean([clip.loss_v for clip in clips])},
        "mask_mode": params.mask_mode,
        "mask_ratio_a": params.mask_ratio_a,
        "mask_ratio_v": params.mask_ratio_v,
        "seed": params.seed,
        "griffin_lim_iterations": params.griffin_lim_iterations,
        "norm_pix_loss": model.norm_pix_loss,
        "model": origin,
    }
    write_json(out / LOSSES, document)
    write_page(out / PAGE, render(document, FIGURE))
    return document


def _write_clip(
    out: Path, source: Source, result: Inpainted, raw: RawBatch, config: ModelConfig, params: InpaintParams
) -> ClipLosses:
    folder = out / source.name
    folder.mkdir()
    frames = sounding_frames(raw, config)
    (folder / FIGURE).write_bytes(figure_png(result, config, frames))
    heard, gain = sounds(result, raw, config, params.griffin_lim_iterations, params.seed)
    for name, samples in heard.items():
        (folder / f"{name}.wav").write_bytes(encode_wav(samples, config.clip.sample_rate))
    return ClipLosses(
        name=source.name,
        path=source.path,
        seconds=round(frames * SHIFT_S, 3),
        loss_a=result.loss_a,
        loss_v=result.loss_v,
        gain=gain,
    )


def _mean(losses: Sequence[float | None]) -> float | None:
    known = [loss for loss in losses if loss is not None]
    return fmean(known) if known else None
